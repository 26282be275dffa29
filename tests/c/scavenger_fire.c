/* Reclaim under fire: threads allocate, check and free, and free what others
 * allocated, while the caches are emptied from outside, pages are given back
 * under them, and children are forked. Every object is stamped: nothing is
 * lost, nothing is handed out twice, nothing that calloc gives is dirty.
 *
 * usage: scavenger_fire plain|trim|fork WORKERS TURNS
 */
#include "scavenger.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { MOST_WORKERS = 64, SLOTS = 64, EXCHANGE = 256, KEPT = 300, HANG_SECONDS = 120 };

static struct stamped *_Atomic exchange[EXCHANGE];
static atomic_long taken, given, given_back, trims;
static atomic_int stop, forks_left, enough;
static long turns;

/* From 8 bytes to 300 KiB, each order of magnitude as often; some are large. */
static size_t any_size(uint64_t *random)
{
    uint64_t r = draw(random);
    if (r % 256 == 0)
        return 300 * KIB + (r >> 16) % (8 * MIB - 300 * KIB);
    unsigned bits = 3 + (r >> 8) % 16;
    size_t size = ((size_t)1 << bits) + (r >> 16) % ((size_t)1 << bits);
    return size < 300 * KIB ? size : 300 * KIB;
}

static void require_zero(const unsigned char *at, size_t size)
{
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, at + i, 8);
        if (word != 0)
            fail("calloc: %p of %zu bytes has %#llx at offset %zu", (void *)at, size,
                 (unsigned long long)word, i);
    }
    for (; i < size; i++)
        if (at[i] != 0)
            fail("calloc: %p of %zu bytes has %#x at offset %zu", (void *)at, size, at[i], i);
}

static struct stamped *fresh(uint64_t *random, uint32_t owner, uint32_t sequence)
{
    size_t size = any_size(random);
    /* The note of what is stamped is an object too. */
    struct stamped *note = malloc(sizeof *note);
    REQUIRE(note);
    unsigned char *object;
    if (draw(random) % 4 == 0) {
        object = calloc(1, size);
        REQUIRE(object);
        require_zero(object, size);
    } else {
        object = malloc(size);
    }
    *note = stamp(object, size, owner, sequence);
    atomic_fetch_add_explicit(&taken, 1, memory_order_relaxed);
    return note;
}

static void drop(struct stamped *note)
{
    stamp_free(note);
    free(note);
    atomic_fetch_add_explicit(&given, 1, memory_order_relaxed);
}

/* Grows, mostly so far that it moves, or shrinks. */
static void resize(struct stamped *note, uint64_t *random, uint32_t owner, uint32_t sequence)
{
    uint64_t r = draw(random);
    size_t size = r % 3 == 0 ? 1 + note->size / 2 : note->size * 2 + r % 64;
    if (size > 8 * MIB)
        size = 8 * MIB;
    stamp_check(note);
    void *moved = realloc(note->at, size);
    REQUIRE(moved);
    stamp_check_moved(note, moved, size < note->size ? size : note->size);
    *note = stamp(moved, size, owner, sequence);
}

static void work(struct stamped **slots, uint64_t *random, uint32_t owner, uint32_t from,
                 uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        uint64_t r = draw(random);
        struct stamped **slot = &slots[r % SLOTS];
        if (!*slot)
            *slot = fresh(random, owner, i);
        else if (r >> 60 < 5)
            *slot = atomic_exchange(&exchange[(r >> 20) % EXCHANGE], *slot);
        else if (r >> 60 < 7)
            resize(*slot, random, owner, i);
        else {
            drop(*slot);
            *slot = NULL;
        }
    }
}

/* Frees all but one in `keep`. */
static void thin(struct stamped **slots, uint64_t *random, unsigned keep)
{
    for (int i = 0; i < SLOTS; i++)
        if (slots[i] && draw(random) % keep != 0) {
            drop(slots[i]);
            slots[i] = NULL;
        }
}

/* Bursts, with pauses in which what is left stands on pages that become idle. */
static void *worker(void *argument)
{
    uint32_t owner = (uintptr_t)argument;
    uint64_t random = owner * 911;
    struct stamped *slots[SLOTS] = {0};
    /* The children, and who waits for them, come first. */
    if (forks_left)
        setpriority(PRIO_PROCESS, 0, 10);
    for (long done = 0; done < turns || !enough; done += 200) {
        work(slots, &random, owner, done, done + 200);
        uint64_t r = draw(&random);
        if (r % 4 == 0) {
            thin(slots, &random, r % 8 == 0 ? ~0u : 10);
            usleep(r >> 32 & 16383);
        }
    }
    for (int i = 0; i < SLOTS; i++)
        if (slots[i])
            drop(slots[i]);
    return NULL;
}

static void *trimmer(void *argument)
{
    while (!stop) {
        if (malloc_trim(0) == 1)
            given_back++;
        if (trims++ % 32 == 0)
            check_heap();
    }
    return NULL;
}

static void *thread_of_child(void *argument)
{
    struct stamped *slots[SLOTS] = {0};
    uint64_t random = (uintptr_t)argument;
    work(slots, &random, 900 + (uintptr_t)argument, 0, 300);
    thin(slots, &random, ~0u);
    return NULL;
}

/* What a child does with the objects that were its parent's. */
static void in_child(struct stamped **kept, uint64_t kind)
{
    uint64_t random = kind;
    alarm(HANG_SECONDS);
    for (int i = 0; i < KEPT; i++)
        stamp_check(kept[i]);
    for (int i = kind % 2; i < KEPT; i += 2)
        drop(kept[i]);
    malloc_trim(0);
    struct stamped *slots[SLOTS] = {0};
    work(slots, &random, 800, 0, 300);
    if (kind % 3 == 0) {
        pthread_t threads[2];
        for (uintptr_t i = 0; i < 2; i++)
            REQUIRE(pthread_create(&threads[i], NULL, thread_of_child, (void *)i) == 0);
        work(slots, &random, 801, 0, 300);
        for (int i = 0; i < 2; i++)
            REQUIRE(pthread_join(threads[i], NULL) == 0);
    }
    malloc_trim(0);
    check_heap();
    thin(slots, &random, ~0u);
    for (int i = (kind + 1) % 2; i < KEPT; i += 2)
        stamp_check(kept[i]);
    _exit(0);
}

static long fork_children(void)
{
    struct stamped *kept[KEPT];
    uint64_t random = 77;
    long children = 0;
    for (int i = 0; i < KEPT; i++)
        kept[i] = fresh(&random, 700, i);
    while (forks_left) {
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0)
            in_child(kept, children);
        int status;
        REQUIRE(waitpid(child, &status, 0) == child);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
            fail("a child hung: still there after %d seconds", HANG_SECONDS);
        if (status != 0)
            fail("a child ended with %#x", status);
        children++;
        forks_left--;
        /* Some of what the next child inherits stands in other spans. */
        for (int i = 0; i < KEPT / 10; i++) {
            struct stamped **one = &kept[draw(&random) % KEPT];
            drop(*one);
            *one = fresh(&random, 701, children);
        }
    }
    for (int i = 0; i < KEPT; i++)
        drop(kept[i]);
    return children;
}

int main(int count, char **arguments)
{
    REQUIRE(count == 4);
    int forks = strcmp(arguments[1], "fork") == 0;
    int trimmed = strcmp(arguments[1], "trim") == 0;
    int workers = atoi(arguments[2]);
    turns = laps(atol(arguments[3]));
    REQUIRE(workers <= MOST_WORKERS);
    pthread_t ids[MOST_WORKERS], emptier;
    forks_left = forks ? 10 + turns / 200 : 0;
    long children = 0;
    for (uintptr_t i = 0; i < workers; i++)
        REQUIRE(pthread_create(&ids[i], NULL, worker, (void *)(i + 1)) == 0);
    if (trimmed)
        REQUIRE(pthread_create(&emptier, NULL, trimmer, NULL) == 0);
    int scavenger = await_scavenger();
    if (forks)
        children = fork_children();
    /* It has to be fire: the scavenger comes by often, somebody gives back. */
    AWAIT(switches_of(scavenger) >= 20 && (!trimmed || given_back >= 5));
    enough = 1;
    for (int i = 0; i < workers; i++)
        REQUIRE(pthread_join(ids[i], NULL) == 0);
    unsigned long long switches = switches_of(scavenger);
    stop = 1;
    if (trimmed)
        REQUIRE(pthread_join(emptier, NULL) == 0);
    for (int i = 0; i < EXCHANGE; i++)
        if (exchange[i])
            drop(exchange[i]);
    if (taken != given)
        fail("%ld objects taken, %ld given back", (long)taken, (long)given);
    check_heap();
    printf("%ld objects, %llu switches, %ld of %ld trims, %ld children, cache %s\n",
           (long)taken, switches, (long)given_back, (long)trims, children, cache_mode());
    return 0;
}
