/* free and every call that succeeds keep errno, on every path. */
#include "surface.h"
#include <pthread.h>
#include <sys/mman.h>

enum { ERRNO = 4711 };

#define KEEPS(statement, ...)                                                  \
    do {                                                                       \
        errno = ERRNO;                                                         \
        statement;                                                             \
        CHECK(errno == ERRNO, "%s: errno is now %d; size %zu", #statement,     \
              errno, __VA_ARGS__);                                             \
    } while (0)

/* The first call is the very first of its thread. */
static void *all_calls_keep_errno(void *unused) {
    size_t sizes[] = {1,          0,          100,     4096,    20000,    200 * KIB,
                      256 * KIB, 257 * KIB, MIB,     2 * MIB, 3 * MIB, 64 * MIB};
    (void)unused;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t size = sizes[i];
        void *object, *other;
        KEEPS(object = malloc(size), size);
        CHECK(object, "size %zu", size);
        soil(object, size);
        KEEPS(malloc_usable_size(object), size);
        KEEPS(free(object), size);
        KEEPS(object = calloc(1, size), size);
        KEEPS(object = realloc(object, size * 3 + 7), size);
        soil(object, size * 3 + 7);
        KEEPS(object = reallocarray(object, size + 1, 4), size);
        KEEPS(object = realloc(object, size / 2 + 1), size);
        KEEPS(object = realloc(object, size / 100 + 1), size);
        KEEPS(other = realloc(object, 0), size);
        CHECK(other == NULL, "realloc to 0 of size %zu", size);
        KEEPS(object = aligned_alloc(256, size), size);
        KEEPS(free(object), size);
        KEEPS(object = memalign(MIB, size), size);
        KEEPS(free(object), size);
        KEEPS(posix_memalign(&object, 4 * MIB, size), size);
        KEEPS(free(object), size);
        KEEPS(object = valloc(size), size);
        KEEPS(other = pvalloc(size), size);
        KEEPS(free(object), size);
        KEEPS(free(other), size);
    }
    return NULL;
}

static void batches_keep_errno(void) {
    enum { COUNT = 20000 };
    static void *objects[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        KEEPS(objects[i] = malloc(i % 3000), i);
    for (size_t i = 0; i < COUNT; i++)
        KEEPS(free(objects[i]), i);
}

static void trim_keeps_errno(void) {
    void *object = malloc(8 * MIB);
    memset(object, 1, 8 * MIB);
    free(object);
    KEEPS(malloc_trim(0), (size_t)0);
    KEEPS(malloc_trim(0), (size_t)0);
    KEEPS(object = malloc(100), (size_t)100);
    KEEPS(free(object), (size_t)100);
}

/* The system refuses MADV_DONTNEED on locked pages. */
static void free_of_locked_pages_keeps_errno(void) {
    size_t sizes[] = {300 * KIB, MIB, 5 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *object = valloc(sizes[i]);
        memset(object, 1, sizes[i]);
        if (mlock(object, sizes[i] / PAGE * PAGE))
            continue;
        KEEPS(free(object), sizes[i]);
        KEEPS(malloc_trim(0), sizes[i]);
    }
}

static void questions_keep_errno(void) {
    KEEPS(mallinfo2(), (size_t)0);
    KEEPS(mallopt(M_TRIM_THRESHOLD, 1 << 20), (size_t)0);
}

int main(void) {
    all_calls_keep_errno(NULL);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, all_calls_keep_errno, NULL), "thread");
        pthread_join(thread, NULL);
        trim_keeps_errno();
    }
    batches_keep_errno();
    free_of_locked_pages_keeps_errno();
    questions_keep_errno();
    return finish();
}
