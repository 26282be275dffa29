/* A thread frees one of two neighbours that another thread made, and allocates:
 * it must not get the one that shares a cache line with what the other thread
 * still has, as long as there is anything else. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 8, LINE = 64, MOST = 64 };

static char *kept, *given;
static atomic_int stage;
static int shared;

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

/* Both threads run all the time: so each has a cache of its own. */
static void await(int wanted)
{
    while (atomic_load(&stage) < wanted)
        ;
}

static void *other(void *unused)
{
    pin(1);
    atomic_store(&stage, 1);
    await(2);
    free(given);
    char *mine = malloc(SIZE);
    shared = (uintptr_t)mine / LINE == (uintptr_t)kept / LINE;
    free(mine);
    atomic_store(&stage, 3);
    return unused;
}

int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, other, NULL);
    pin(0);
    await(1);
    char *objects[MOST];
    for (int i = 0; i < MOST && !given; i++) {
        objects[i] = malloc(SIZE);
        for (int k = 0; k < i && !given; k++)
            if ((uintptr_t)objects[k] / LINE == (uintptr_t)objects[i] / LINE) {
                kept = objects[k];
                given = objects[i];
            }
    }
    if (!given) {
        puts("no two objects share a line");
        return 1;
    }
    atomic_store(&stage, 2);
    await(3);
    pthread_join(thread, NULL);
    puts(shared ? "two threads share a line" : "each thread has its own line");
    return shared;
}
