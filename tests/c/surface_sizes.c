/* Every size up to 300 000: aligned, large enough, wasting little, writable
 * from end to end, and apart from all others. */
#include "surface.h"

enum { LIMIT = 300000, BATCH = 128 };

static void check_one(const void *object, size_t size) {
    size_t usable = malloc_usable_size((void *)object);
    size_t alignment = size <= 8 ? 8 : 16;
    size_t most = size <= 96 * KIB    ? size + size / 8 + 16
                  : size <= 256 * KIB ? (size + 64 * KIB - 1) / (64 * KIB) * (64 * KIB)
                                      : size + PAGE;
    CHECK(object != NULL, "size %zu", size);
    CHECK((uintptr_t)object % alignment == 0, "size %zu at %p", size, object);
    CHECK(usable >= size, "size %zu, usable %zu", size, usable);
    CHECK(usable <= most, "size %zu, usable %zu", size, usable);
}

static void every_size_is_aligned_and_wastes_little(void) {
    for (size_t size = 0; size <= LIMIT; size++) {
        unsigned char *object = malloc(size);
        check_one(object, size);
        size_t usable = malloc_usable_size(object);
        object[0] = 1;
        object[usable - 1] = 2;
        free(object);
    }
    for (size_t size = LIMIT; size <= 80 * MIB; size += size / 13 + 1001) {
        void *object = malloc(size);
        check_one(object, size);
        free(object);
    }
}

static void live_objects_are_writable_and_apart(void) {
    static unsigned char *objects[BATCH];
    size_t sizes[BATCH];
    for (size_t first = 0; first <= LIMIT; first += first < 4000 ? BATCH : 97 * BATCH) {
        size_t step = first < 4000 ? 1 : 97;
        for (size_t i = 0; i < BATCH; i++) {
            objects[i] = malloc(first + i * step);
            check_one(objects[i], first + i * step);
            sizes[i] = malloc_usable_size(objects[i]);
            memset(objects[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < BATCH; i++)
            CHECK(all_bytes_are(objects[i], (int)i + 1, sizes[i]),
                  "object %zu of size %zu was written by another", i, first + i * step);
        for (size_t i = 0; i < BATCH; i++)
            free(objects[i * 37 % BATCH]);
    }
}

int main(void) {
    every_size_is_aligned_and_wastes_little();
    live_objects_are_writable_and_apart();
    return finish();
}
