/* aligned_alloc, posix_memalign, memalign, valloc and pvalloc. */
#include "surface.h"

enum { ERRNO = 4711 };

static void aligned_alloc_refuses_what_is_no_power_of_two(void) {
    size_t wrong[] = {0, 3, 6, 12, 24, 48, 100, 4095, 4097, 3 * MIB, SIZE_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        errno = 0;
        void *object = aligned_alloc(OPAQUE(wrong[i]), 128);
        CHECK(object == NULL && errno == EINVAL, "alignment %zu", wrong[i]);
    }
}

static void aligned_alloc_takes_any_size(void) {
    for (size_t size = 0; size < 300; size++) {
        void *object = aligned_alloc(64, OPAQUE(size));
        CHECK(object && (uintptr_t)object % 64 == 0, "size %zu", size);
        free(object);
    }
}

static void posix_memalign_returns_its_error_and_leaves_the_rest_alone(void) {
    size_t wrong[] = {0, 1, 2, 4, 7, 12, 24, 40, 100, 3 * MIB, SIZE_MAX};
    void *before = &wrong, *object = before;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        errno = ERRNO;
        int error = posix_memalign(&object, OPAQUE(wrong[i]), 128);
        CHECK(error == EINVAL, "alignment %zu: %d", wrong[i], error);
        CHECK(object == before && errno == ERRNO, "alignment %zu", wrong[i]);
    }
    size_t large[] = {SIZE_MAX, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        int error = posix_memalign(&object, 4096, OPAQUE(large[i]));
        CHECK(error == ENOMEM, "size %zu: %d", large[i], error);
        CHECK(object == before && errno == ERRNO, "size %zu", large[i]);
    }
    CHECK(posix_memalign(&object, 64, OPAQUE((size_t)0)) == 0, "size 0");
    CHECK(errno == ERRNO, "size 0");
    free(object);
}

static void memalign_refuses_what_is_no_power_of_two(void) {
    size_t wrong[] = {3, 24, 100, 5000, SIZE_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        errno = 0;
        void *object = memalign(OPAQUE(wrong[i]), 1000);
        CHECK(object == NULL && errno == EINVAL, "alignment %zu", wrong[i]);
    }
}

static void valloc_and_pvalloc_give_pages(void) {
    for (size_t size = 0; size < 20000; size += 333) {
        void *object = valloc(size), *pages = pvalloc(size);
        size_t whole = (size + PAGE - 1) / PAGE * PAGE;
        CHECK(object && (uintptr_t)object % PAGE == 0, "valloc %zu", size);
        CHECK(pages && (uintptr_t)pages % PAGE == 0, "pvalloc %zu", size);
        CHECK(malloc_usable_size(pages) >= whole, "pvalloc %zu", size);
        memset(object, 1, size);
        memset(pages, 2, whole);
        CHECK(all_bytes_are(object, 1, size), "valloc %zu", size);
        free(object);
        free(pages);
    }
}

static void *allocate(int how, size_t alignment, size_t size) {
    void *object = NULL;
    switch (how) {
    case 0: return aligned_alloc(alignment, size);
    case 1: return memalign(alignment, size);
    default:
        if (alignment < sizeof(void *))
            return malloc(size);
        return posix_memalign(&object, alignment, size) ? NULL : object;
    }
}

/* Alignments 1 to 4 MiB with sizes around them: live all at once, stamped
 * over the whole usable size. */
static void every_alignment_holds(void) {
    enum { MOST = 64 };
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
        size_t sizes[] = {0, 1, 8, 17, 100, alignment - 1, alignment, alignment + 1,
                          alignment * 3 / 2, 1000, 10000, 100000, 600000};
        enum { SIZES = sizeof sizes / sizeof *sizes };
        unsigned char *objects[MOST];
        size_t usable[MOST], count = 0;
        for (int how = 0; how < 3; how++)
            for (size_t i = 0; i < SIZES; i++) {
                unsigned char *object = allocate(how, alignment, sizes[i]);
                CHECK(object, "alignment %zu, size %zu", alignment, sizes[i]);
                CHECK((uintptr_t)object % alignment == 0, "alignment %zu, size %zu: %p",
                      alignment, sizes[i], (void *)object);
                usable[count] = malloc_usable_size(object);
                CHECK(usable[count] >= sizes[i], "alignment %zu, size %zu, usable %zu",
                      alignment, sizes[i], usable[count]);
                memset(object, (int)count + 1, usable[count]);
                objects[count++] = object;
            }
        for (size_t i = 0; i < count; i++)
            CHECK(all_bytes_are(objects[i], (int)i + 1, usable[i]),
                  "alignment %zu, object %zu was written by another", alignment, i);
        for (size_t i = 0; i < count; i++)
            free(objects[i * 17 % count]);
    }
}

static void a_gigabyte_of_alignment_holds(void) {
    for (size_t alignment = 8 * MIB; alignment <= GIB; alignment *= 2) {
        char *object = aligned_alloc(alignment, OPAQUE((size_t)100));
        CHECK(object && (uintptr_t)object % alignment == 0, "alignment %zu", alignment);
        object[0] = object[99] = 1;
        free(object);
    }
}

static void an_aligned_object_can_be_reallocated(void) {
    for (size_t alignment = 16; alignment <= 4 * MIB; alignment *= 4) {
        unsigned char *object = aligned_alloc(alignment, 1000);
        memset(object, 0x5a, 1000);
        object = realloc(object, 70000);
        CHECK(all_bytes_are(object, 0x5a, 1000), "alignment %zu grew", alignment);
        object = realloc(object, 500);
        CHECK(all_bytes_are(object, 0x5a, 500), "alignment %zu shrank", alignment);
        free(object);
    }
}

int main(void) {
    aligned_alloc_refuses_what_is_no_power_of_two();
    aligned_alloc_takes_any_size();
    posix_memalign_returns_its_error_and_leaves_the_rest_alone();
    memalign_refuses_what_is_no_power_of_two();
    valloc_and_pvalloc_give_pages();
    every_alignment_holds();
    a_gigabyte_of_alignment_holds();
    an_aligned_object_can_be_reallocated();
    return finish();
}
