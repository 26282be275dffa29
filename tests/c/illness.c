/* A process whose memory has one illness, for `thmalloc explain` to name.
 *
 * usage: illness NAME [FILE]
 * Says "ready" once it has it, and ends when its standard input does. Those that
 * grow go on growing until then, or up to MOST.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define MOST (1024 * MIB)

static void *taken(size_t size)
{
    void *object = malloc(size);
    if (object == NULL)
        abort();
    return memset(object, 1, size);
}

/* Takes `step` bytes as objects of `size`, again and again, and keeps them. */
static void leak(size_t size, size_t step, int pause_ms)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    for (size_t all = 0; poll(&input, 1, pause_ms) == 0;)
        for (size_t end = all + step; all < end && all < MOST; all += size)
            taken(size);
}

/* All objects go but one in fifty. */
static void survivors(void)
{
    enum { SIZE = 48 };
    size_t count = 64 * MIB / SIZE;
    char **objects = mmap(NULL, count * sizeof *objects, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < count; i++)
        objects[i] = taken(SIZE);
    for (size_t i = 0; i < count; i++)
        if (i % 50 != 0)
            free(objects[i]);
    munmap(objects, count * sizeof *objects);
}

/* What comes and goes again and again stays in the cache of its CPU: a few objects of
 * each size. */
static void cached(void)
{
    enum { COUNT = 60, STEP = 1024, STEPS = 28 };
    static void *objects[STEPS][COUNT];
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    for (int live = 0; live < 5; live++)
        taken(MIB);
    for (int round = 0; round < 100; round++) {
        for (int step = 0; step < STEPS; step++)
            for (int i = 0; i < COUNT; i++)
                objects[step][i] = taken((size_t)(step + 1) * STEP);
        for (int step = 0; step < STEPS; step++)
            for (int i = 0; i < COUNT; i++)
                free(objects[step][i]);
    }
}

static void mapped(const char *path)
{
    size_t size = 64 * MIB;
    int file = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (path != NULL) {
        file = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (file < 0 || ftruncate(file, (off_t)size) != 0)
            abort();
        flags = MAP_SHARED;
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, file, 0);
    if (memory == MAP_FAILED)
        abort();
    memset(memory, 1, size);
}

static pthread_barrier_t deep;

/* The memory of a stack stays when the calls that used it have returned. */
static void *uses_stack(void *unused)
{
    (void)unused;
    volatile char used[700 * KIB];
    for (size_t at = 0; at < sizeof used; at += 4 * KIB)
        used[at] = 1;
    pthread_barrier_wait(&deep);
    pause();
    return NULL;
}

static void stacks(void)
{
    enum { THREADS = 64 };
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, MIB);
    pthread_barrier_init(&deep, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, uses_stack, NULL) != 0)
            abort();
    }
    pthread_barrier_wait(&deep);
}

static void healthy(void)
{
    for (size_t all = 0, size = 16; all < 32 * MIB; all += size, size = 16 + (size * 7 + 5) % 6000)
        taken(size);
}

static void freed(void)
{
    enum { COUNT = 128 };
    void *objects[COUNT];
    for (int i = 0; i < COUNT; i++)
        objects[i] = taken(MIB / 2);
    for (int i = 0; i < COUNT; i++)
        free(objects[i]);
}

int main(int count, char **arguments)
{
    const char *name = count > 1 ? arguments[1] : "";
    /* Who reads it need not be its parent. */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    if (strcmp(name, "fragmented") == 0)
        survivors();
    else if (strcmp(name, "cached") == 0)
        cached();
    else if (strcmp(name, "mmap") == 0)
        mapped(NULL);
    else if (strcmp(name, "file") == 0 && count > 2)
        mapped(arguments[2]);
    else if (strcmp(name, "stacks") == 0)
        stacks();
    else if (strcmp(name, "healthy") == 0)
        healthy();
    else if (strcmp(name, "freed") == 0)
        freed();
    else if (strncmp(name, "leak_", 5) != 0)
        return 2;
    taken(1);
    puts("ready");
    fflush(stdout);
    if (strcmp(name, "leak_class") == 0)
        leak(48, 64 * KIB, 4);
    else if (strcmp(name, "leak_large") == 0)
        leak(512 * KIB, 512 * KIB, 20);
    char end;
    while (read(0, &end, 1) > 0)
        ;
    return 0;
}
