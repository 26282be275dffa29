/* A load as a service has it, and what of its memory stays afterwards, while
 * nobody calls malloc or free any more. Three quarters of the objects are freed
 * by who made them, the others by another thread.
 *
 * usage: scavenger_load blocked|exited|large|survivors WORKERS MIB
 *        scavenger_load alone ORDER SIZES MIB
 *        scavenger_load resized shrunk|freed THREADS MIB
 * Says in KiB: what was held before, at the peak, and in the end; what is live;
 * the pages that live objects stand on; how many milliseconds it took.
 */
#include "scavenger.h"
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>

enum { MOST_WORKERS = 256, PAGE = 4096, SURVIVORS = 50 };

struct share {
    struct stamped *objects;
    size_t count;
};

static struct share shares[MOST_WORKERS];
static int workers, keeps_some, only_large, ends;
static size_t share_bytes;
static pthread_barrier_t step;
static sem_t forever;

static size_t any_size(uint64_t *random, const char *sizes)
{
    uint64_t r = draw(random);
    if (strcmp(sizes, "large") == 0)
        return 300 * KIB + (r >> 16) % (4 * MIB - 300 * KIB);
    if (strcmp(sizes, "small") == 0)
        return 16 + (r >> 16) % 1000;
    return r % 1024 == 0 ? (r >> 16) % (4 * MIB)
           : r % 64 == 0 ? (r >> 16) % (256 * KIB)
                         : 16 + (r >> 16) % 4000;
}

/* Room for as many objects as `bytes` can be. */
static struct stamped *room(size_t bytes, const char *sizes)
{
    size_t least = strcmp(sizes, "large") == 0   ? MIB
                   : strcmp(sizes, "small") == 0 ? 300
                                                 : 2000;
    return table((bytes / least + 64) * sizeof(struct stamped));
}

static void fill(struct share *share, size_t bytes, const char *sizes, uint32_t owner)
{
    uint64_t random = owner * 7919;
    while (bytes != 0) {
        size_t size = any_size(&random, sizes);
        if (size > bytes)
            size = bytes;
        share->objects[share->count] = stamp(malloc(size), size, owner, share->count);
        share->count++;
        bytes -= size;
    }
}

static int is_kept(const struct stamped *object)
{
    return keeps_some && mixed(object->owner * 31 + object->sequence) % SURVIVORS == 0;
}

static void empty(struct share *share, int quarter)
{
    for (size_t i = 0; i < share->count; i++)
        if ((i % 4 == 0) == quarter && !is_kept(&share->objects[i]))
            stamp_free(&share->objects[i]);
}

static void *worker(void *argument)
{
    int number = (intptr_t)argument;
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    fill(&shares[number], share_bytes, only_large ? "large" : "all", number);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    empty(&shares[number], 0);
    empty(&shares[(number + 1) % workers], 1);
    pthread_barrier_wait(&step);
    while (!ends)
        sem_wait(&forever);
    return NULL;
}

/* The pages on which survivors stand, each once, and their bytes. */
static size_t kept_pages(size_t *live)
{
    uintptr_t low = UINTPTR_MAX, high = 0;
    size_t pages = 0;
    *live = 0;
    for (int w = 0; w < workers; w++)
        for (size_t i = 0; i < shares[w].count; i++) {
            struct stamped *object = &shares[w].objects[i];
            if (!object->at)
                continue;
            uintptr_t from = (uintptr_t)object->at / PAGE;
            uintptr_t to = ((uintptr_t)object->at + object->size + PAGE - 1) / PAGE;
            low = from < low ? from : low;
            high = to > high ? to : high;
            *live += object->size;
        }
    if (high == 0)
        return 0;
    unsigned char *seen = mmap(NULL, high - low, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(seen != MAP_FAILED);
    for (int w = 0; w < workers; w++)
        for (size_t i = 0; i < shares[w].count; i++) {
            struct stamped *object = &shares[w].objects[i];
            if (!object->at)
                continue;
            uintptr_t to = ((uintptr_t)object->at + object->size + PAGE - 1) / PAGE;
            for (uintptr_t page = (uintptr_t)object->at / PAGE; page < to; page++) {
                pages += !seen[page - low];
                seen[page - low] = 1;
            }
        }
    munmap(seen, high - low);
    return pages * PAGE;
}

/* The bar, which is reached sooner or later. */
static void await_and_say(size_t start, size_t peak)
{
    long since = milliseconds();
    size_t live, pages = kept_pages(&live);
    size_t bar = start + pages + pages / 10 + 4 * MIB;
    AWAIT(rss_anon() <= bar);
    printf("start %zu peak %zu end %zu live %zu pages %zu after %ld\n", start / KIB,
           peak / KIB, rss_anon() / KIB, live / KIB, pages / KIB, milliseconds() - since);
}

static void crowd(const char *what, int count, size_t mib)
{
    pthread_t ids[MOST_WORKERS];
    workers = count;
    keeps_some = strcmp(what, "survivors") == 0;
    only_large = strcmp(what, "large") == 0;
    int exits = strcmp(what, "exited") == 0;
    share_bytes = mib * MIB / workers;
    for (int i = 0; i < workers; i++)
        shares[i].objects = room(share_bytes, only_large ? "large" : "all");
    pthread_barrier_init(&step, NULL, workers + 1);
    sem_init(&forever, 0, 0);
    for (intptr_t i = 0; i < workers; i++)
        REQUIRE(pthread_create(&ids[i], NULL, worker, (void *)i) == 0);
    pthread_barrier_wait(&step);
    size_t start = rss_anon();
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    size_t peak = rss_anon();
    pthread_barrier_wait(&step);
    ends = exits;
    pthread_barrier_wait(&step);
    for (int i = 0; i < workers && exits; i++)
        REQUIRE(pthread_join(ids[i], NULL) == 0);
    await_and_say(start, peak);
    for (int w = 0; w < workers; w++)
        for (size_t i = 0; i < shares[w].count; i++)
            if (shares[w].objects[i].at)
                stamp_free(&shares[w].objects[i]);
    check_heap();
    exit(0);
}

/* One thread, and only its frees to give back: what is there after the last. */
static void alone(const char *order, const char *sizes, size_t mib)
{
    struct share *mine = &shares[0];
    mine->objects = room(mib * MIB, sizes);
    workers = 1;
    size_t start = rss_anon();
    fill(mine, mib * MIB, sizes, 1);
    size_t peak = rss_anon();
    keeps_some = strcmp(order, "survivors") == 0;
    uint64_t random = 5;
    for (size_t i = mine->count; i > 1 && strcmp(order, "random") == 0; i--) {
        size_t other = draw(&random) % i;
        struct stamped swapped = mine->objects[i - 1];
        mine->objects[i - 1] = mine->objects[other];
        mine->objects[other] = swapped;
    }
    for (size_t i = 0; i < mine->count; i++) {
        size_t next = strcmp(order, "last-first") == 0 ? mine->count - 1 - i : i;
        if (!is_kept(&mine->objects[next]))
            stamp_free(&mine->objects[next]);
    }
    size_t end = rss_anon(), live, pages = kept_pages(&live);
    printf("start %zu peak %zu end %zu live %zu pages %zu after 0\n", start / KIB, peak / KIB,
           end / KIB, live / KIB, pages / KIB);
    REQUIRE(threads().count == 1);
    check_heap();
    exit(0);
}

static void *waits(void *unused)
{
    for (;;)
        sem_wait(&forever);
    return unused;
}

/* One object that grows to all of it by realloc, and is freed, or becomes small again: no
 * other call of malloc or free. */
static void resized(const char *how, int beside, size_t mib)
{
    pthread_t ids[MOST_WORKERS];
    size_t size = 300 * KIB, most = mib * MIB, left = 0;
    sem_init(&forever, 0, 0);
    for (int i = 0; i < beside; i++)
        REQUIRE(pthread_create(&ids[i], NULL, waits, NULL) == 0);
    unsigned char *object = malloc(size);
    REQUIRE(object);
    memset(object, 7, size);
    size_t start = rss_anon();
    while (size < most) {
        size_t larger = size + size / 2 < most ? size + size / 2 : most;
        object = realloc(object, larger);
        REQUIRE(object);
        memset(object + size, 7, larger - size);
        size = larger;
    }
    size_t peak = rss_anon();
    if (strcmp(how, "shrunk") == 0) {
        left = MIB;
        object = realloc(object, left);
        for (size_t i = 0; i < left; i++)
            REQUIRE(object[i] == 7);
    } else {
        free(object);
    }
    long since = milliseconds();
    if (beside)
        AWAIT(rss_anon() <= start + left + left / 10 + 4 * MIB);
    printf("start %zu peak %zu end %zu live %zu pages %zu after %ld\n", start / KIB,
           peak / KIB, rss_anon() / KIB, left / KIB, left / KIB, milliseconds() - since);
    check_heap();
    exit(0);
}

int main(int count, char **arguments)
{
    /* No buffer of stdio's: it would be the one call of malloc. */
    setvbuf(stdout, NULL, _IONBF, 0);
    if (count == 4)
        crowd(arguments[1], atoi(arguments[2]), atol(arguments[3]));
    if (count == 5 && strcmp(arguments[1], "alone") == 0)
        alone(arguments[2], arguments[3], atol(arguments[4]));
    if (count == 5 && strcmp(arguments[1], "resized") == 0)
        resized(arguments[2], atoi(arguments[3]), atol(arguments[4]));
    return 2;
}
