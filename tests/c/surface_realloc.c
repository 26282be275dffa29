/* realloc and reallocarray: contents kept over every change of size, and the
 * cases at the edges as glibc has them. */
#include "surface.h"

/* Byte `i` of a pattern that pages do not repeat. */
static unsigned char pattern(size_t i) {
    return (unsigned char)((uint32_t)i * 2654435761u >> 24);
}

static void fill(unsigned char *object, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        object[i] = pattern(i);
}

static void check_pattern(const unsigned char *object, size_t size, size_t from, size_t to) {
    for (size_t i = 0; i < size; i++)
        CHECK(object[i] == pattern(i), "byte %zu, from %zu to %zu", i, from, to);
}

static void contents_are_kept(size_t from, size_t to, int array) {
    unsigned char *object = malloc(from);
    fill(object, 0, from);
    object = array ? reallocarray(object, to, 1) : realloc(object, to);
    CHECK(object && malloc_usable_size(object) >= to, "from %zu to %zu", from, to);
    CHECK((uintptr_t)object % (to <= 8 ? 8 : 16) == 0, "from %zu to %zu", from, to);
    check_pattern(object, from < to ? from : to, from, to);
    fill(object, 0, to);
    check_pattern(object, to, from, to);
    free(object);
}

static void contents_are_kept_between_all_sizes(void) {
    size_t sizes[64], count = 0;
    for (size_t size = 1; size < 6 * MIB; size = size * 7 / 5 + 1)
        sizes[count++] = size;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            if (sizes[i] + sizes[j] < 700 * KIB || (i + j) % 5 == 0)
                contents_are_kept(sizes[i], sizes[j], (int)(i + j) % 2);
}

static void contents_are_kept_step_by_step(void) {
    unsigned char *object = NULL;
    size_t held = 0;
    for (size_t size = 1; size < 700 * KIB; size += 1 + size / 40) {
        object = realloc(object, size);
        fill(object, held, size);
        held = size;
    }
    check_pattern(object, held, 0, held);
    for (size_t size = held; size > 1; size -= 1 + size / 40) {
        object = realloc(object, size);
        held = size;
    }
    check_pattern(object, held, held, held);
    free(object);
}

static void null_and_zero_are_as_in_glibc(void) {
    for (size_t size = 1; size < 10 * MIB; size = size * 3 + 1) {
        void *object = realloc(OPAQUE((void *)NULL), size);
        CHECK(object && malloc_usable_size(object) >= size, "realloc(NULL, %zu)", size);
        CHECK(realloc(object, OPAQUE((size_t)0)) == NULL, "realloc(%zu to 0)", size);
        object = reallocarray(OPAQUE((void *)NULL), size, 1);
        CHECK(object && malloc_usable_size(object) >= size, "reallocarray(NULL, %zu)", size);
        CHECK(reallocarray(object, OPAQUE((size_t)0), 8) == NULL, "reallocarray(%zu to 0)", size);
    }
    void *object = reallocarray(OPAQUE((void *)NULL), 0, 8);
    CHECK(object, "reallocarray(NULL, 0, 8)");
    free(object);
}

/* realloc to 0 must free: this would need 64 GiB otherwise. */
static void realloc_to_zero_frees(void) {
    struct rlimit limit = {status_bytes("VmSize") + 8 * GIB, RLIM_INFINITY}, old;
    getrlimit(RLIMIT_AS, &old);
    setrlimit(RLIMIT_AS, &limit);
    for (int i = 0; i < 1024; i++) {
        void *object = malloc(64 * MIB);
        CHECK(object, "round %d", i);
        CHECK(realloc(object, OPAQUE((size_t)0)) == NULL, "round %d", i);
    }
    setrlimit(RLIMIT_AS, &old);
}

static void a_size_that_fits_stays_in_place(void) {
    for (size_t size = 16; size < 4 * MIB; size = size * 3 / 2) {
        char *object = malloc(size);
        char *same = realloc(object, malloc_usable_size(object));
        CHECK(same == object, "size %zu grown into what is usable", size);
        same = realloc(object, malloc_usable_size(object) - 1);
        CHECK(same == object, "size %zu shrunk by one byte", size);
        free(same);
    }
}

int main(void) {
    contents_are_kept_between_all_sizes();
    contents_are_kept_step_by_step();
    null_and_zero_are_as_in_glibc();
    realloc_to_zero_frees();
    a_size_that_fits_stays_in_place();
    return finish();
}
