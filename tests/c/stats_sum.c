/* The sum rule: what thmalloc_stats says is resident is what the kernel counts for
 * the heap's mappings, within 2 % and 1 MiB, whatever the heap has been through;
 * and its words add up. */
#include "surface.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <thmalloc.h>
#include <unistd.h>

static struct thmalloc_stats now(void) {
    struct thmalloc_stats stats;
    CHECK(thmalloc_stats(&stats, sizeof stats) == sizeof stats, "the header is old");
    return stats;
}

/* What the kernel counts as resident in anonymous mappings without reserved swap:
 * those are the heap's, and nobody else's here. Without malloc. */
static size_t kernel(void) {
    static char text[8 * MIB];
    int file = open("/proc/self/smaps", O_RDONLY);
    size_t length = 0;
    ssize_t got;
    while ((got = read(file, text + length, sizeof text - 1 - length)) > 0)
        length += got;
    close(file);
    text[length] = 0;
    size_t sum = 0, rss = 0;
    char *next;
    for (char *line = text; *line; line = next) {
        next = strchr(line, '\n');
        *next++ = 0;
        if (!strncmp(line, "Rss:", 4))
            rss = strtoul(line + 4, NULL, 10) * KIB;
        if (!strncmp(line, "Swap:", 5))
            rss += strtoul(line + 5, NULL, 10) * KIB;
        if (!strncmp(line, "VmFlags:", 8) && strstr(line, " nr"))
            sum += rss;
    }
    return sum;
}

static void agrees(const char *state) {
    size_t before = kernel();
    struct thmalloc_stats stats = now();
    size_t after = kernel();
    size_t sum = stats.live + stats.cached + stats.fragmented + stats.free + stats.metadata;
    CHECK(sum == stats.resident, "%s: the sum is %zu, resident %zu", state, sum,
          (size_t)stats.resident);
    size_t least = before < after ? before : after, most = before < after ? after : before;
    least -= least / 50 < least ? least / 50 : 0;
    size_t slack = MIB;
    CHECK(stats.resident + slack >= least && stats.resident <= most + most / 50 + slack,
          "%s: resident %zu, the kernel says %zu and %zu (live %zu, cached %zu, fragmented %zu, "
          "free %zu, metadata %zu)",
          state, (size_t)stats.resident, before, after, (size_t)stats.live,
          (size_t)stats.cached, (size_t)stats.fragmented, (size_t)stats.free,
          (size_t)stats.metadata);
    CHECK(stats.untouched <= stats.released, "%s: untouched %zu of %zu", state,
          (size_t)stats.untouched, (size_t)stats.released);
}

#define NEAR(found, expected)                                                          \
    ((found) <= (expected) + (expected) / 50 + MIB && (found) + (expected) / 50 + MIB >= (expected))

enum { COUNT = 200000, SIZE = 500 };
static char *objects[COUNT];

static void allocate_all(void) {
    for (int i = 0; i < COUNT; i++)
        objects[i] = memset(malloc(SIZE), 1, SIZE);
}

static void small_objects(void) {
    struct thmalloc_stats rest = now();
    allocate_all();
    agrees("all live");
    struct thmalloc_stats live = now();
    size_t bytes = malloc_usable_size(objects[0]) * COUNT;
    CHECK(NEAR(live.live, rest.live + bytes), "live %zu of %zu", (size_t)live.live, bytes);
    CHECK(live.small_count - rest.small_count == COUNT, "%zu objects",
          (size_t)(live.small_count - rest.small_count));

    for (int i = 0; i < COUNT; i++)
        if (i % 100) {
            free(objects[i]);
            objects[i] = NULL;
        }
    agrees("scattered");
    struct thmalloc_stats scattered = now();
    CHECK(NEAR(scattered.live, rest.live + bytes / 100), "live %zu", (size_t)scattered.live);
    thmalloc_purge();
    agrees("scattered, after a purge");
    struct thmalloc_stats purged = now();
    CHECK(NEAR(purged.live, scattered.live), "live %zu", (size_t)purged.live);
    CHECK(purged.cached == 0 && purged.free == 0, "cached %zu, free %zu", (size_t)purged.cached,
          (size_t)purged.free);
    CHECK(purged.fragmented > 0 && purged.fragmented < scattered.resident, "fragmented %zu",
          (size_t)purged.fragmented);
    CHECK(purged.ever_released > scattered.ever_released, "given back %zu",
          (size_t)purged.ever_released);

    for (int i = 0; i < COUNT; i++)
        if (!objects[i])
            objects[i] = memset(malloc(SIZE), 1, SIZE);
    agrees("live again");
    struct thmalloc_stats again = now();
    CHECK(again.ever_refaulted > purged.ever_refaulted, "wanted again %zu",
          (size_t)again.ever_refaulted);
    for (int i = 0; i < COUNT; i++)
        free(objects[i]);
    agrees("all freed");
    thmalloc_purge();
    agrees("all freed, after a purge");
    struct thmalloc_stats freed = now();
    CHECK(NEAR(freed.live, rest.live) && NEAR(freed.resident, rest.resident),
          "live %zu, resident %zu", (size_t)freed.live, (size_t)freed.resident);
    memset(objects, 0, sizeof objects);
}

static void small_objects_that_nobody_touches(void) {
    struct thmalloc_stats rest = now();
    for (int i = 0; i < 1000; i++)
        objects[i] = malloc(200 * KIB);
    agrees("small, untouched");
    struct thmalloc_stats live = now();
    CHECK(NEAR(live.live, rest.live), "live %zu", (size_t)live.live);
    size_t bytes = 1000 * malloc_usable_size(objects[0]);
    CHECK(NEAR(live.untouched, rest.untouched + bytes), "untouched %zu",
          (size_t)live.untouched);
    for (int i = 0; i < 1000; i++)
        free(objects[i]);
}

/* A page that was only read is the kernel's page of zeros, which it does not count;
 * systems before Linux 6.7 do not tell. */
static int knows_zeros(void) {
    struct utsname name;
    int major = 0, minor = 0;
    uname(&name);
    sscanf(name.release, "%d.%d", &major, &minor);
    return major > 6 || (major == 6 && minor >= 7);
}

static void large_objects(void) {
    struct thmalloc_stats rest = now();
    char *table = calloc(1, 400 * MIB);
    agrees("calloc, untouched");
    for (size_t at = 0; at < 100 * MIB; at += 4096)
        table[at] = 1;
    agrees("calloc, a quarter touched");
    struct thmalloc_stats live = now();
    CHECK(NEAR(live.live, rest.live + 100 * MIB), "live %zu", (size_t)live.live);
    CHECK(NEAR(live.untouched, rest.untouched + 300 * MIB), "untouched %zu",
          (size_t)live.untouched);
    CHECK(live.large_count == rest.large_count + 1, "%zu large", (size_t)live.large_count);
    CHECK(live.large_bytes == rest.large_bytes + 400 * MIB, "%zu large", (size_t)live.large_bytes);
    volatile char sum = 0;
    for (size_t at = 100 * MIB; at < 200 * MIB; at += 4096)
        sum += table[at];
    if (knows_zeros())
        agrees("calloc, a quarter read");
    char *odd = memset(malloc(5 * MIB + 12345), 1, 5 * MIB + 12345);
    agrees("a large object of an odd size");
    table = realloc(table, 900 * MIB);
    agrees("a large object that grew");
    free(table);
    free(odd);
    agrees("large objects freed");
    thmalloc_purge();
    agrees("large objects freed, after a purge");
}

static void hugepages(void) {
    char *object = aligned_alloc(2 * MIB, 64 * MIB);
    madvise(object, 64 * MIB, MADV_HUGEPAGE);
    for (size_t at = 0; at < 32 * MIB; at += 2 * MIB)
        object[at] = 1;
    agrees("hugepages");
    madvise(object, 64 * MIB, MADV_NOHUGEPAGE);
    free(object);
    agrees("hugepages freed");
    thmalloc_purge();
    agrees("hugepages freed, after a purge");
}

static void *work(void *argument) {
    char *mine[1000];
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 1000; i++)
            mine[i] = memset(malloc(16 + i % 700), 1, 16);
        for (int i = 0; i < 1000; i++)
            free(mine[i]);
    }
    return argument;
}

static void threads(void) {
    pthread_t workers[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&workers[i], NULL, work, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(workers[i], NULL);
    agrees("threads that left objects in caches");
    struct thmalloc_stats stats = now();
    CHECK(stats.cached < stats.resident, "cached %zu", (size_t)stats.cached);
}

static void forks(void) {
    allocate_all();
    pid_t child = fork();
    if (child == 0) {
        agrees("in a child");
        for (int i = 0; i < COUNT; i += 2)
            free(objects[i]);
        agrees("in a child that frees");
        thmalloc_purge();
        agrees("in a child that gave back");
        _exit(finish());
    }
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child: %d", status);
    agrees("in the parent");
    for (int i = 0; i < COUNT; i++)
        free(objects[i]);
}

static void older_and_newer_callers_are_served(void) {
    struct {
        struct thmalloc_stats known;
        uint64_t newer;
    } stats;
    memset(&stats, 1, sizeof stats);
    CHECK(thmalloc_stats(&stats.known, sizeof stats) == sizeof stats.known, "more is known");
    CHECK(stats.newer == 0, "%zu", (size_t)stats.newer);
    memset(&stats, 1, sizeof stats);
    uint64_t untouched = stats.known.cached;
    thmalloc_stats(&stats.known, sizeof stats.known.live);
    CHECK(stats.known.live != untouched && stats.known.cached == untouched, "too much is written");
    CHECK(thmalloc_stats(NULL, 0) == sizeof stats.known, "without room");
}

int main(void) {
    agrees("at the beginning");
    if (!kernel())
        puts("skipped: the kernel reserves swap for all mappings (vm.overcommit_memory)");
    small_objects();
    small_objects_that_nobody_touches();
    large_objects();
    hugepages();
    forks();
    threads();
    older_and_newer_callers_are_served();
    return finish();
}
