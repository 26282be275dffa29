/* scavenger_crew.h: threads that come to work when they are told to, and wait
 * in between without a call of malloc.
 */
#ifndef SCAVENGER_CREW_H
#define SCAVENGER_CREW_H

#include "scavenger.h"
#include <pthread.h>
#include <semaphore.h>

enum { CREW = 4, BURST_MIB = 8 };

struct member {
    pthread_t id;
    sem_t go;
    void (*task)(int number);
    int number;
};

static struct member crew[CREW];
static sem_t crew_done;

static void *member(void *argument)
{
    struct member *self = argument;
    for (;;) {
        while (sem_wait(&self->go) != 0)
            ;
        if (!self->task)
            return NULL;
        self->task(self->number);
        sem_post(&crew_done);
    }
}

/* What a member holds between `fill` and `empty`. */
enum { HELD = 4096, HELD_MIB = 16 };
static struct stamped held[CREW][HELD];

/* What the process held before its first load; its children inherit it. */
static size_t begun;

static void begin(void)
{
    if (begun == 0) {
        memset(held, 0, sizeof held);
        begun = rss_anon();
    }
}

UNUSED static void start_crew(void)
{
    begin();
    sem_init(&crew_done, 0, 0);
    for (int i = 0; i < CREW; i++) {
        crew[i].number = i;
        sem_init(&crew[i].go, 0, 0);
        REQUIRE(pthread_create(&crew[i].id, NULL, member, &crew[i]) == 0);
    }
}

/* Has member `number` do something, and waits for it. */
UNUSED static void send(int number, void (*task)(int number))
{
    crew[number].task = task;
    sem_post(&crew[number].go);
    while (sem_wait(&crew_done) != 0)
        ;
}

UNUSED static void send_all(void (*task)(int number))
{
    for (int i = 0; i < CREW; i++) {
        crew[i].task = task;
        sem_post(&crew[i].go);
    }
    for (int i = 0; i < CREW; i++)
        while (sem_wait(&crew_done) != 0)
            ;
}

UNUSED static void end_crew(void)
{
    for (int i = 0; i < CREW; i++) {
        crew[i].task = NULL;
        sem_post(&crew[i].go);
    }
    for (int i = 0; i < CREW; i++)
        REQUIRE(pthread_join(crew[i].id, NULL) == 0);
}

/* Allocates some MiB in objects of all sizes, checks and frees them. */
UNUSED static void burst_of(int mib, uint32_t owner)
{
    struct stamped *last = NULL;
    uint64_t random = owner;
    for (size_t bytes = 0, i = 0; bytes < mib * MIB; i++) {
        uint64_t r = draw(&random);
        size_t size = sizeof(struct stamped *) * 8 +
                      (r % 64 == 0 ? (r >> 16) % (256 * KIB) : (r >> 16) % 4000);
        struct stamped *note = malloc(sizeof *note + sizeof note);
        REQUIRE(note);
        *note = stamp(malloc(size), size, owner, i);
        memcpy(note + 1, &last, sizeof last);
        last = note;
        bytes += size;
    }
    while (last) {
        struct stamped *note = last;
        memcpy(&last, note + 1, sizeof last);
        stamp_free(note);
        free(note);
    }
}

UNUSED static void burst(int number)
{
    burst_of(BURST_MIB, number);
}

/* Allocates some objects of up to 6 KiB, and one in 128 larger; 4096 of them
 * are 16 MiB, about. */
UNUSED static void fill_some(int number, int count)
{
    uint64_t random = number;
    for (int i = 0; i < count; i++) {
        uint64_t r = draw(&random);
        size_t size = r % 128 == 0 ? (r >> 16) % (300 * KIB) : (r >> 16) % (6 * KIB);
        held[number][i] = stamp(malloc(size), size, number, i);
    }
}

UNUSED static void fill(int number)
{
    fill_some(number, HELD);
}

UNUSED static void empty(int number)
{
    for (int i = 0; i < HELD && held[number][i].at; i++)
        stamp_free(&held[number][i]);
}

/* After a load of all members the memory is the system's again, within some
 * MiB, and nobody calls malloc meanwhile. */
UNUSED static void memory_comes_back(size_t bound)
{
    send_all(fill);
    REQUIRE(rss_anon() > begun + CREW * HELD_MIB * MIB * 3 / 4);
    send_all(empty);
    AWAIT(rss_anon() <= begun + bound);
}

/* A crew has worked, and the scavenger is there. */
UNUSED static int crew_with_scavenger(void)
{
    start_crew();
    send_all(burst);
    return await_scavenger();
}

#endif
