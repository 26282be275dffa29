/* calloc: zero after dirty reuse at every size, and no page touched that the
 * system has just zeroed. */
#include "surface.h"
#include <sys/mman.h>

/* Leaves `count` dirty objects of `size` behind, freed. */
static void leave_dirt(size_t size, int count) {
    void *objects[16];
    for (int i = 0; i < count; i++) {
        objects[i] = malloc(size);
        memset(objects[i], 0xff, malloc_usable_size(objects[i]));
    }
    for (int i = 0; i < count; i++)
        free(objects[i]);
}

static void check_zero(size_t count, size_t size) {
    void *objects[16];
    for (size_t i = 0; i < count; i++) {
        objects[i] = i % 2 ? calloc(size, 1) : calloc(1, size);
        CHECK(objects[i], "size %zu", size);
        CHECK(all_bytes_are(objects[i], 0, size), "size %zu, object %zu", size, i);
    }
    for (size_t i = 0; i < count; i++)
        free(objects[i]);
}

static void reused_objects_are_zero(void) {
    for (size_t size = 1; size <= 300000; size += size < 2000 ? 1 : size / 60) {
        int count = size < 20000 ? 16 : 3;
        leave_dirt(size, count);
        check_zero(count, size);
    }
}

static void reused_large_objects_are_zero(void) {
    size_t dirty[] = {300 * KIB, MIB, 2 * MIB, 3 * MIB + 5, 8 * MIB, 40 * MIB};
    for (size_t i = 0; i < sizeof dirty / sizeof *dirty; i++)
        for (size_t part = 1; part <= 4; part++) {
            leave_dirt(dirty[i], 2);
            check_zero(2, dirty[i] / part);
            if (part % 2)
                malloc_trim(0);
        }
}

/* A part of a dirty object is given back, the rest is not. */
static void zero_over_returned_and_kept_pages(void) {
    for (int round = 0; round < 20; round++) {
        void *large = malloc(MIB), *small[64];
        memset(large, 0xff, MIB);
        free(large);
        malloc_trim(0);
        for (int i = 0; i < 64; i++) {
            small[i] = malloc(5000);
            memset(small[i], 0xff, 5000);
        }
        for (int i = 0; i < 64; i++)
            free(small[i]);
        check_zero(4, 700 * KIB + round * 10 * KIB);
    }
}

/* MADV_DONTNEED fails on locked pages: what it was to drop is still there. */
static void zero_where_pages_could_not_be_dropped(void) {
    size_t sizes[] = {300 * KIB, MIB, 5 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *object = valloc(sizes[i]);
        memset(object, 0xff, sizes[i]);
        if (mlock(object, sizes[i] / PAGE * PAGE))
            perror("mlock, checked without");
        free(object);
        malloc_trim(0);
        check_zero(3, sizes[i]);
        check_zero(16, sizes[i] / 20);
    }
}

/* realloc moves pages away; what is left behind is used again. */
static void zero_where_pages_were_moved_away(void) {
    for (int round = 0; round < 10; round++) {
        void *object = malloc(6 * MIB), *wall = malloc(6 * MIB);
        memset(object, 0xff, 6 * MIB);
        memset(wall, 0xff, 6 * MIB);
        object = realloc(object, 48 * MIB);
        check_zero(3, 6 * MIB);
        memset((char *)object + 6 * MIB, 0xff, 20 * MIB);
        object = realloc(object, 9 * MIB);
        check_zero(4, 9 * MIB);
        free(object);
        free(wall);
    }
}

static void products_are_zero(void) {
    for (size_t count = 1; count < 200; count += 3)
        for (size_t size = 1; size < 200; size += 7) {
            leave_dirt(count * size, 2);
            void *object = calloc(count, size);
            CHECK(all_bytes_are(object, 0, count * size), "%zu times %zu", count, size);
            free(object);
        }
}

static void fresh_memory_is_not_touched(void) {
    long before = faults();
    char *large = calloc(1024, MIB);
    long after = faults();
    CHECK(large, "1 GiB");
    CHECK(after - before < 300, "1 GiB: %ld faults", after - before);
    CHECK(large[0] == 0 && large[GIB / 2] == 0 && large[GIB - 1] == 0, "1 GiB");
    free(large);

    before = faults();
    char *medium = calloc(1, 32 * MIB);
    after = faults();
    CHECK(medium && after - before < 100, "32 MiB: %ld faults", after - before);
    free(medium);
}

int main(void) {
    without_huge_pages();
    fresh_memory_is_not_touched();
    products_are_zero();
    reused_objects_are_zero();
    reused_large_objects_are_zero();
    zero_over_returned_and_kept_pages();
    zero_where_pages_were_moved_away();
    malloc_trim(0);
    fresh_memory_is_not_touched();
    zero_where_pages_could_not_be_dropped();
    return finish();
}
