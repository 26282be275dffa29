/* Sizes from 16 TiB on and products that overflow: NULL and ENOMEM, the
 * old object intact, and the heap as good as before. */
#include "surface.h"

#define REFUSED(call, ...)                                                     \
    do {                                                                       \
        errno = 0;                                                             \
        void *got_ = (call);                                                   \
        CHECK(got_ == NULL && errno == ENOMEM, "%s gave %p for %zu", #call,    \
              got_, __VA_ARGS__);                                              \
    } while (0)

static void sizes_are_refused(unsigned char *object) {
    size_t sizes[] = {SIZE_MAX,        SIZE_MAX - 1,     SIZE_MAX - 15,  SIZE_MAX - 4095,
                      SIZE_MAX - 4096, SIZE_MAX - 2 * MIB, SIZE_MAX / 2 + 2, (size_t)PTRDIFF_MAX + 1,
                      PTRDIFF_MAX,     (size_t)1 << 62,  (size_t)1 << 48,  (size_t)1 << 44};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = OPAQUE(sizes[i]);
        REFUSED(malloc(size), size);
        REFUSED(calloc(1, size), size);
        REFUSED(calloc(size, 1), size);
        REFUSED(realloc(NULL, size), size);
        REFUSED(realloc(object, size), size);
        REFUSED(reallocarray(object, 1, size), size);
        REFUSED(reallocarray(NULL, size, 1), size);
        REFUSED(aligned_alloc(64, size), size);
        REFUSED(aligned_alloc(4 * MIB, size), size);
        REFUSED(memalign(64, size), size);
        REFUSED(memalign(4096, size), size);
        REFUSED(valloc(size), size);
        REFUSED(pvalloc(size), size);
        CHECK(all_bytes_are(object, 0x77, 1000), "after size %zu", size);
    }
}

static void products_are_refused(unsigned char *object) {
    size_t factors[][2] = {{SIZE_MAX, 2},
                           {2, SIZE_MAX},
                           {SIZE_MAX, SIZE_MAX},
                           {(size_t)1 << 32, (size_t)1 << 32},
                           {((size_t)1 << 32) + 1, (size_t)1 << 32},
                           {(size_t)1 << 63, 2},
                           {SIZE_MAX / 3 + 1, 3},
                           {SIZE_MAX / 16 + 1, 16},
                           {((size_t)1 << 33) + 1, ((size_t)1 << 31)}};
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) {
        size_t count = OPAQUE(factors[i][0]), size = OPAQUE(factors[i][1]);
        REFUSED(calloc(count, size), count);
        REFUSED(reallocarray(NULL, count, size), count);
        REFUSED(reallocarray(object, count, size), count);
        CHECK(all_bytes_are(object, 0x77, 1000), "after %zu times %zu", count, size);
    }
}

static void alignments_are_refused(void) {
    for (int shift = 44; shift < 64; shift++) {
        size_t alignment = OPAQUE((size_t)1 << shift);
        REFUSED(aligned_alloc(alignment, 100), alignment);
        REFUSED(aligned_alloc(alignment, OPAQUE(SIZE_MAX)), alignment);
        void *object = NULL;
        CHECK(posix_memalign(&object, alignment, 100) == ENOMEM, "2^%d", shift);
        CHECK(object == NULL, "2^%d", shift);
    }
}

int main(void) {
    size_t old_sizes[] = {1000, 40000, 300000, 5 * MIB};
    for (int i = 0; i < 4; i++) {
        unsigned char *object = malloc(old_sizes[i]);
        memset(object, 0x77, old_sizes[i]);
        sizes_are_refused(object);
        products_are_refused(object);
        CHECK(all_bytes_are(object, 0x77, old_sizes[i]), "object of %zu", old_sizes[i]);
        free(object);
    }
    alignments_are_refused();
    void *object = malloc(10 * MIB);
    CHECK(object, "memory is there after the refusals");
    free(object);
    return finish();
}
