/* No memory: allocate until NULL, with ENOMEM from every function and nothing
 * damaged; free; and the same amount is there again, from another thread too.
 *
 * usage: robust_nomem started           the limits were set before exec
 *        robust_nomem lowered MIB       RLIMIT_AS: what is mapped, plus MIB
 *        robust_nomem below MIB         RLIMIT_AS: MIB, whatever is mapped
 *        robust_nomem near MIB          RLIMIT_AS: MIB less than what is mapped
 *        robust_nomem refused           mmap, mremap and mprotect fail from now on
 *        robust_nomem refused-large     the same from lengths of 64 KiB
 *        robust_nomem one-thread        the same, but for one thread only
 */
#include "stamp.h"

#include "robust_filter.h"
#include <pthread.h>
#include <semaphore.h>
#include <sys/resource.h>

/* What was allocated hangs together through the objects themselves: a table
 * of its own would need memory that the limits count. */
struct node {
    struct node *next;
    size_t size;
    uint64_t mark;
};

static const size_t HUGE_SIZE = (size_t)1 << 46;
static const size_t CAP = (size_t)6 << 30;

static uint64_t mark_of(const struct node *node)
{
    return mixed((uintptr_t)node ^ mixed(node->size));
}

static uint64_t *tail_of(struct node *node)
{
    return (uint64_t *)((char *)node + node->size - 8);
}

static void mark(struct node *node, size_t size)
{
    node->size = size;
    node->mark = mark_of(node);
    if (size >= sizeof *node + 8)
        *tail_of(node) = ~node->mark;
}

static void check_node(struct node *node)
{
    if (node->mark != mark_of(node) ||
        (node->size >= sizeof *node + 8 && *tail_of(node) != ~node->mark))
        fail("object %p of %zu bytes has changed", (void *)node, node->size);
}

static size_t exhaust(struct node **list, size_t size)
{
    size_t bytes = 0;
    while (bytes < CAP) {
        errno = 0;
        struct node *node = malloc(size);
        if (!node) {
            REQUIRE(errno == ENOMEM);
            return bytes;
        }
        mark(node, size);
        node->next = *list;
        *list = node;
        bytes += size;
    }
    fail("no limit holds: %zu bytes in objects of %zu", bytes, size);
}

static void free_every(struct node **list, int step)
{
    int i = 0;
    struct node **at = list;
    while (*at) {
        struct node *node = *at;
        check_node(node);
        if (i++ % step == 0) {
            *at = node->next;
            errno = 4711;
            free(node);
            REQUIRE(errno == 4711);
        } else {
            at = &node->next;
        }
    }
}

/* NULL goes with ENOMEM; what is not NULL goes back. */
static void either(void *object)
{
    if (!object)
        REQUIRE(errno == ENOMEM);
    free(object);
}

#define REFUSED(call)                                                          \
    do {                                                                       \
        errno = 0;                                                             \
        REQUIRE((call) == NULL);                                               \
        REQUIRE(errno == ENOMEM);                                              \
    } while (0)

static size_t mapped_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    REQUIRE(file && fscanf(file, "%ld", &pages) == 1);
    fclose(file);
    return (size_t)pages * 4096;
}

static void set_limit(rlim_t bytes)
{
    struct rlimit both = {bytes, bytes};
    REQUIRE(setrlimit(RLIMIT_AS, &both) == 0);
}

/* Most of what a limit allows is for objects, not for tables. */
static void most_is_for_objects(size_t limit)
{
    struct node *list = NULL;
    size_t bytes = exhaust(&list, 64 << 10);
    free_every(&list, 1);
    if (bytes + (16 << 20) < limit / 2)
        fail("a limit of %zu MiB leaves %zu MiB for objects", limit >> 20, bytes >> 20);
}

/* Free memory in many places serves a request that is larger than each of them, below
 * a limit that it stands above. */
static void what_lies_apart_serves(size_t less)
{
    enum { OBJECTS = 120 };
    static void *objects[OBJECTS];
    for (int i = 0; i < OBJECTS; i++)
        REQUIRE(objects[i] = malloc(4 << 20));
    for (int i = 0; i < OBJECTS; i += 2)
        free(objects[i]);
    set_limit(mapped_bytes() - less);
    for (int i = 0; i < 2; i++)
        REQUIRE(malloc(64 << 20));
    check_heap();
}

/* A request that cannot be served takes nothing of what is free. */
static void a_refusal_leaves(size_t least)
{
    struct node *list = NULL;
    for (int i = 0; i < 50; i++)
        REFUSED(malloc((size_t)1 << 30));
    size_t bytes = exhaust(&list, 1 << 20);
    free_every(&list, 1);
    if (bytes < least)
        fail("after refusals %zu MiB are left of %zu", bytes >> 20, least >> 20);
}

/* Every function, when there is nothing left for objects of `size`. */
static void every_function(struct node *old, size_t size)
{
    char other;
    void *kept = &other;
    struct node *next = old->next;
    REFUSED(malloc(HUGE_SIZE));
    REFUSED(calloc(1, HUGE_SIZE));
    REFUSED(calloc(HUGE_SIZE / 16, 16));
    REFUSED(realloc(NULL, HUGE_SIZE));
    REFUSED(realloc(old, HUGE_SIZE));
    REFUSED(reallocarray(old, 16, HUGE_SIZE / 16));
    REFUSED(aligned_alloc(64, HUGE_SIZE));
    REFUSED(memalign(4096, HUGE_SIZE));
    REFUSED(valloc(HUGE_SIZE));
    REFUSED(pvalloc(HUGE_SIZE));
    errno = 4711;
    REQUIRE(posix_memalign(&kept, 64, HUGE_SIZE) == ENOMEM);
    REQUIRE(kept == &other);
    REQUIRE(errno == 4711 || strcmp(cache_mode(), "none") == 0);
    either(malloc(size));
    either(calloc(1, size));
    either(memalign(64, size));
    either(memalign(1 << 20, size));
    int error = posix_memalign(&kept, 64, size);
    REQUIRE(error == 0 || (error == ENOMEM && kept == &other));
    if (error == 0)
        free(kept);
    check_node(old);
    REQUIRE(old->next == next);
}

/* Growing one object until it fails leaves it as it was. */
static void grow_until_refused(struct node **list)
{
    struct node *node = *list, *next = node->next;
    size_t size = node->size;
    for (;;) {
        size_t larger = size + size / 2 + 4096;
        errno = 0;
        struct node *grown = realloc(node, larger);
        if (!grown) {
            REQUIRE(errno == ENOMEM);
            break;
        }
        REQUIRE(grown->next == next && grown->size == size);
        *list = node = grown;
        size = larger;
        mark(node, size);
    }
    check_node(node);
    REQUIRE(node->next == next);
}

/* Until NULL, all freed, and once more: as much as before, near enough. */
static size_t twice(size_t size)
{
    struct node *list = NULL;
    size_t first = exhaust(&list, size);
    if (!list)
        fail("not one object of %zu bytes", size);
    every_function(list, size);
    grow_until_refused(&list);
    free_every(&list, 2);
    free_every(&list, 1);
    size_t second = exhaust(&list, size);
    REQUIRE(list);
    every_function(list, size);
    free_every(&list, 3);
    free_every(&list, 1);
    if (second < first / 10 * 8)
        fail("%zu bytes in objects of %zu, after free only %zu", first, size, second);
    return first;
}

/* The limit decides how small the objects may be, for the time it takes. */
static void all_sizes(int with_small)
{
    static const size_t sizes[] = {1 << 20, 300 << 10, 100000, 3000, 64, 24};
    size_t large = twice(1 << 20);
    printf("%zu MiB in objects of 1 MiB", large >> 20);
    for (int i = 1; i < (with_small ? 6 : 3); i++)
        printf(", %zu in %zu", twice(sizes[i]) >> 20, sizes[i]);
    printf("\n");
    size_t again = twice(1 << 20);
    if (again < large / 10 * 8)
        fail("objects of 1 MiB: %zu bytes; after the smaller ones %zu", large, again);
}

/* The heap holds this much that no system call is needed for. */
static void warm_up(size_t bytes)
{
    struct node *list = NULL;
    for (size_t got = 0; got < bytes; got += 1 << 20) {
        struct node *node = malloc(1 << 20);
        REQUIRE(node);
        mark(node, 1 << 20);
        node->next = list;
        list = node;
    }
    free_every(&list, 1);
}

static void refuse_memory(unsigned least)
{
    REQUIRE(refuse_from(SYS_mprotect, 1, least, ENOMEM) == 0);
    REQUIRE(refuse_from(SYS_mremap, 2, least, ENOMEM) == 0);
    REQUIRE(refuse_from(SYS_mmap, 1, least, ENOMEM) == 0);
}

static sem_t begin, ended;
static int thread_with_small;
/* From this length on the thread is refused memory, as the first thread is. */
static unsigned refused_from;

static void *in_thread(void *argument)
{
    while (sem_wait(&begin) != 0)
        continue;
    if (refused_from)
        refuse_memory(refused_from);
    all_sizes(thread_with_small);
    sem_post(&ended);
    return NULL;
}

static void *refused_thread(void *argument)
{
    struct node *list = NULL;
    refuse_memory(1);
    size_t before = exhaust(&list, 1 << 20);
    /* The other thread, which may, brings 32 MiB and frees them. */
    sem_post(&ended);
    while (sem_wait(&begin) != 0)
        continue;
    size_t more = exhaust(&list, 1 << 20);
    free_every(&list, 2);
    free_every(&list, 1);
    if (more < 24 << 20)
        fail("%zu bytes, then 32 MiB freed by another thread, but only %zu more", before, more);
    all_sizes(1);
    return NULL;
}

static void one_thread(void)
{
    pthread_t thread;
    warm_up(8 << 20);
    REQUIRE(pthread_create(&thread, NULL, refused_thread, NULL) == 0);
    while (sem_wait(&ended) != 0)
        continue;
    warm_up(32 << 20);
    sem_post(&begin);
    REQUIRE(pthread_join(thread, NULL) == 0);
    warm_up(64 << 20);
}

int main(int count, char **arguments)
{
    const char *how = count > 1 ? arguments[1] : "";
    size_t bytes = count > 2 ? strtoul(arguments[2], NULL, 10) << 20 : 0;
    int with_small = 1;
    struct rlimit limit;
    sem_init(&begin, 0, 0);
    sem_init(&ended, 0, 0);
    if (strcmp(how, "one-thread") == 0) {
        one_thread();
        check_heap();
        return 0;
    }
    if (strcmp(how, "near") == 0) {
        what_lies_apart_serves(bytes);
        return 0;
    }
    pthread_t thread;
    pthread_attr_t attributes;
    REQUIRE(pthread_attr_init(&attributes) == 0);
    REQUIRE(pthread_attr_setstacksize(&attributes, 128 << 10) == 0);
    REQUIRE(pthread_create(&thread, &attributes, in_thread, NULL) == 0);
    if (strcmp(how, "started") == 0) {
        REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0);
        if (limit.rlim_cur != RLIM_INFINITY)
            most_is_for_objects(limit.rlim_cur);
        else
            REQUIRE(getrlimit(RLIMIT_DATA, &limit) == 0);
        with_small = limit.rlim_cur <= (rlim_t)128 << 20;
    } else if (strcmp(how, "lowered") == 0) {
        warm_up(8 << 20);
        set_limit(mapped_bytes() + bytes);
        with_small = bytes <= 128 << 20;
    } else if (strcmp(how, "below") == 0) {
        warm_up(48 << 20);
        set_limit(bytes);
        a_refusal_leaves(40 << 20);
    } else if (strcmp(how, "refused") == 0) {
        warm_up(48 << 20);
        refuse_memory(refused_from = 1);
    } else if (strcmp(how, "refused-large") == 0) {
        warm_up(48 << 20);
        refuse_memory(refused_from = 64 << 10);
    } else {
        return 2;
    }
    thread_with_small = with_small;
    all_sizes(with_small);
    sem_post(&begin);
    while (sem_wait(&ended) != 0)
        continue;
    REQUIRE(pthread_join(thread, NULL) == 0);
    check_heap();
    printf("cache %s\n", cache_mode());
    return 0;
}
