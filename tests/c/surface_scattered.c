/* Free memory that lies apart serves a longer object: its pages move there, so that
 * none is faulted in while those lie idle; nobody else's change; what is to be
 * zero is; what is locked stays locked; what has several mappings is whole.
 *
 * usage: surface_scattered [refused]   refused: the system moves no pages
 */
#include "surface.h"
#include <sys/mman.h>

enum { COUNT = 24, APART = 3 };
#define SIZE (4 * MIB)

static size_t *objects[COUNT];

/* Few of many, so that they are kept; no two of them side by side. */
static void free_some_that_lie_apart(void) {
    for (size_t i = 0; i < COUNT; i++) {
        objects[i] = malloc(SIZE);
        stamp_pages(objects[i], 0, SIZE, i << 32);
    }
    for (size_t i = 0; i < APART; i++) {
        free(objects[4 * i + 2]);
        objects[4 * i + 2] = NULL;
    }
}

static void the_others_are_as_they_were(void) {
    for (size_t i = 0; i < COUNT; i++)
        if (objects[i]) {
            check_pages(objects[i], SIZE, i << 32, "beside those that were free");
            free(objects[i]);
        }
    malloc_trim(0);
}

static void a_longer_object_gets_their_pages(int refused) {
    free_some_that_lie_apart();
    size_t size = APART * SIZE - 200 * KIB, resident = status_bytes("VmRSS");
    long before = faults();
    size_t *object = malloc(size);
    stamp_pages(object, 0, size, (size_t)99 << 32);
    long faulted = faults() - before;
    if (!refused) {
        /* One of six regions may serve small objects meanwhile. */
        CHECK(faulted < 600, "%ld faults for %zu pages", faulted, size / PAGE);
        CHECK(status_bytes("VmRSS") < resident + 3 * MIB, "it was %zu KiB", resident / KIB);
    }
    check_pages(object, size, (size_t)99 << 32, "that is new");
    /* The rest of its last region serves others as before. */
    char *small[64];
    for (size_t i = 0; i < 64; i++)
        memset(small[i] = malloc(100 * KIB), (int)i, 100 * KIB);
    check_pages(object, size, (size_t)99 << 32, "after its neighbours are written");
    for (size_t i = 0; i < 64; i++) {
        CHECK(small[i][0] == (char)i && small[i][100 * KIB - 1] == (char)i, "%zu", i);
        free(small[i]);
    }
    free(object);
    the_others_are_as_they_were();
}

static void what_is_to_be_zero_is(void) {
    free_some_that_lie_apart();
    size_t size = APART * SIZE, *object = calloc(1, size);
    for (size_t i = 0; i < size / sizeof *object; i++)
        CHECK(object[i] == 0, "word %zu of a zeroed object", i);
    free(object);
    the_others_are_as_they_were();
}

/* Those whose pages have moved read as zeros to whoever gets them next, and
 * calloc relies on it. */
static void what_moved_leaves_zeros(void) {
    free_some_that_lie_apart();
    size_t *object = malloc(APART * SIZE);
    stamp_pages(object, 0, APART * SIZE, (size_t)98 << 32);
    for (int i = 0; i < 8; i++) {
        size_t *zeroed = calloc(1, 2 * MIB);
        for (size_t at = 0; at < 2 * MIB / sizeof *zeroed; at++)
            CHECK(zeroed[at] == 0, "word %zu of zeroed object %d", at, i);
        objects[4 * (i % APART) + 2] = NULL;
        free(zeroed);
    }
    check_pages(object, APART * SIZE, (size_t)98 << 32, "beside zeroed ones");
    free(object);
    the_others_are_as_they_were();
}

/* Writable memory without a file that is resident and not locked, in bytes. */
static size_t unlocked_bytes(void) {
    char line[512], access[8] = "";
    unsigned long inode = 1;
    size_t resident = 0, sum = 0;
    FILE *maps = fopen("/proc/self/smaps", "r");
    CHECK(maps, "smaps");
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%*x-%*x %7s %*s %*s %lu", access, &inode) == 2)
            continue;
        sscanf(line, "Rss: %zu", &resident);
        if (!strncmp(line, "VmFlags:", 8) && !strcmp(access, "rw-p") && inode == 0 &&
            !strstr(line, " lo"))
            sum += resident * KIB;
    }
    fclose(maps);
    return sum;
}

static void what_is_locked_stays_locked(void) {
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
        return;
    size_t before = unlocked_bytes();
    free_some_that_lie_apart();
    size_t *object = malloc(APART * SIZE);
    stamp_pages(object, 0, APART * SIZE, (size_t)97 << 32);
    object = realloc(object, 2 * APART * SIZE);
    check_pages(object, APART * SIZE, (size_t)97 << 32, "after growing");
    for (size_t i = 0; i < APART; i++)
        stamp_pages(objects[4 * i + 2] = malloc(SIZE), 0, SIZE, (4 * i + 2) << 32);
    CHECK(unlocked_bytes() <= before, "%zu KiB are not locked, %zu KiB before",
          unlocked_bytes() / KIB, before / KIB);
    free(object);
    the_others_are_as_they_were();
    munlockall();
}

/* Bytes of mappings whose flags say that they are locked. */
static size_t locked_bytes(void) {
    char line[512];
    size_t size = 0, sum = 0;
    FILE *maps = fopen("/proc/self/smaps", "r");
    CHECK(maps, "smaps");
    while (fgets(line, sizeof line, maps)) {
        sscanf(line, "Size: %zu", &size);
        if (!strncmp(line, "VmFlags:", 8) && strstr(line, " lo"))
            sum += size * KIB;
    }
    fclose(maps);
    return sum;
}

/* What a process has locked of what it has, while others of its mappings are not, stays
 * locked: the pages of free neighbours do not move, nor those of one that grows. */
static void what_was_locked_stays_locked(void) {
    free_some_that_lie_apart();
    if (mlockall(MCL_CURRENT | MCL_ONFAULT) != 0)
        return;
    size_t before = locked_bytes();
    size_t *object = malloc(APART * SIZE);
    stamp_pages(object, 0, APART * SIZE, (size_t)96 << 32);
    CHECK(locked_bytes() >= before, "%zu KiB are locked, %zu KiB before",
          locked_bytes() / KIB, before / KIB);
    free(object);
    the_others_are_as_they_were();
    munlockall();
    /* One of two neighbours grows. */
    size_t *first = malloc(SIZE), *second = malloc(SIZE);
    stamp_pages(first, 0, SIZE, (size_t)95 << 32);
    stamp_pages(second, 0, SIZE, (size_t)94 << 32);
    if (mlock(first, SIZE) != 0 || mlock(second, SIZE) != 0)
        return;
    before = locked_bytes();
    first = realloc(first, 4 * SIZE);
    check_pages(first, SIZE, (size_t)95 << 32, "that grew");
    CHECK(locked_bytes() >= before, "%zu KiB are locked, %zu KiB before",
          locked_bytes() / KIB, before / KIB);
    check_pages(second, SIZE, (size_t)94 << 32, "beside it");
    free(first);
    free(second);
    munlockall();
}

/* Advice splits a mapping: the pages of an object that has several do not move, or only
 * some of them might. */
static void what_has_several_mappings_stays_whole(void) {
    size_t *object = malloc(2 * SIZE), *behind = malloc(SIZE);
    stamp_pages(object, 0, 2 * SIZE, (size_t)93 << 32);
    CHECK(madvise((char *)object + 3 * PAGE, SIZE, MADV_DONTFORK) == 0, "advice");
    object = realloc(object, 4 * SIZE);
    check_pages(object, 2 * SIZE, (size_t)93 << 32, "of several mappings");
    free(object);
    free(behind);
}

int main(int count, char **arguments) {
    int refused = count > 1 && strcmp(arguments[1], "refused") == 0;
    without_huge_pages();
    for (int round = 0; round < 3; round++) {
        a_longer_object_gets_their_pages(refused);
        what_is_to_be_zero_is();
        what_moved_leaves_zeros();
    }
    what_is_locked_stays_locked();
    what_was_locked_stays_locked();
    what_has_several_mappings_stays_whole();
    return finish();
}
