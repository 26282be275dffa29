/* Signals every 100 microseconds, and threads moved between CPUs while they are
 * inside malloc and free, and caches emptied from outside meanwhile: nothing is
 * lost, nothing is handed out twice.
 *
 * usage: robust_storm signals|migration|trim|all MILLISECONDS
 */
#include "stamp.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum { WORKERS = 6, SLOTS = 128, EXCHANGE = 256 };

static atomic_int stop;
static atomic_long signals_seen, moves, trims, taken, given;
static atomic_int ids[WORKERS];
static sem_t posted;
static int with_signals, with_migration, with_trim, cpus[2];

/* Objects change hands through these, by atomic exchange. */
static struct stamped *_Atomic exchange[EXCHANGE];

/* What a handler may do: system calls, sem_post, its own stack, errno kept. */
static void handler(int signal)
{
    int before = errno;
    volatile unsigned char depth[600];
    struct timespec now;
    for (size_t i = 0; i < sizeof depth; i += 64)
        depth[i] = signal;
    clock_gettime(CLOCK_MONOTONIC, &now);
    sem_post(&posted);
    sem_trywait(&posted);
    if (atomic_fetch_add(&signals_seen, 1) % 16 == 0)
        sched_yield();
    if (depth[512] != (unsigned char)signal)
        abort();
    errno = before;
}

static void pin(int id, int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(id, sizeof one, &one) == 0)
        atomic_fetch_add_explicit(&moves, 1, memory_order_relaxed);
}

static struct stamped *fresh(uint64_t *random, uint32_t owner, uint32_t sequence)
{
    uint64_t r = draw(random);
    size_t size = r % 200 == 0  ? 1 + (r >> 16) % (400 << 10)
                  : r % 16 == 0 ? 1 + (r >> 16) % 8000
                                : 1 + (r >> 16) % 256;
    /* The note of what is stamped is an object too, and the fast path's. */
    struct stamped *note = malloc(sizeof *note);
    REQUIRE(note);
    *note = stamp(malloc(size), size, owner, sequence);
    atomic_fetch_add_explicit(&taken, 1, memory_order_relaxed);
    return note;
}

static void drop(struct stamped *note)
{
    stamp_free(note);
    free(note);
    atomic_fetch_add_explicit(&given, 1, memory_order_relaxed);
}

static void *worker(void *argument)
{
    uint32_t owner = (uintptr_t)argument;
    uint64_t random = owner * 911;
    struct stamped *slots[SLOTS] = {0};
    timer_t timer;
    ids[owner] = syscall(SYS_gettid);
    if (with_signals) {
        struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
        event.sigev_notify_thread_id = ids[owner];
        struct itimerspec every = {{0, 100000}, {0, 100000}};
        REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
        REQUIRE(timer_settime(timer, 0, &every, NULL) == 0);
    }
    for (uint32_t i = 0; !stop; i++) {
        uint64_t r = draw(&random);
        struct stamped **slot = &slots[r % SLOTS];
        if (!*slot) {
            *slot = fresh(&random, owner, i);
        } else if (r >> 60 < 6) {
            *slot = atomic_exchange(&exchange[(r >> 20) % EXCHANGE], *slot);
        } else {
            drop(*slot);
            *slot = NULL;
        }
        if (with_migration && i % 64 == 0)
            pin(0, cpus[r >> 40 & 1]);
    }
    if (with_signals)
        REQUIRE(timer_delete(timer) == 0);
    for (int i = 0; i < SLOTS; i++)
        if (slots[i])
            drop(slots[i]);
    return NULL;
}

static void *controller(void *argument)
{
    uint64_t random = 5;
    while (!stop) {
        uint64_t r = draw(&random);
        int id = ids[r % WORKERS];
        if (id)
            pin(id, cpus[r >> 40 & 1]);
    }
    return NULL;
}

/* Empties the caches of all CPUs, and has the heap walked, while the workers
 * are at it. */
static void *trimmer(void *argument)
{
    while (!stop) {
        malloc_trim(0);
        if (trims++ % 16 == 0)
            check_heap();
        usleep(200);
    }
    return NULL;
}

static void listen_to(int signal)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    REQUIRE(sigaction(signal, &action, NULL) == 0);
}

static void set_timers(long microseconds)
{
    struct itimerval every = {{0, microseconds}, {0, microseconds}};
    REQUIRE(setitimer(ITIMER_REAL, &every, NULL) == 0);
    REQUIRE(setitimer(ITIMER_PROF, &every, NULL) == 0);
    REQUIRE(setitimer(ITIMER_VIRTUAL, &every, NULL) == 0);
}

/* A busy machine may take longer until the storm has been one. */
static int enough(void)
{
    return (!with_signals || signals_seen > 1000) && (!with_migration || moves > 1000) &&
           (!with_trim || trims > 10);
}

int main(int count, char **arguments)
{
    REQUIRE(count == 3);
    int all_kinds = strcmp(arguments[1], "all") == 0;
    with_signals = all_kinds || strcmp(arguments[1], "signals") == 0;
    with_migration = all_kinds || strcmp(arguments[1], "migration") == 0;
    with_trim = all_kinds || strcmp(arguments[1], "trim") == 0;
    long left = laps(atol(arguments[2])) * 1000;
    cpu_set_t all;
    int found = 0;
    REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
        if (CPU_ISSET(cpu, &all))
            cpus[found++] = cpu;
    if (with_migration && found < 2) {
        printf("one CPU only\n");
        return 77;
    }
    sem_init(&posted, 0, 0);
    listen_to(SIGALRM);
    listen_to(SIGPROF);
    listen_to(SIGVTALRM);
    listen_to(SIGRTMIN);
    if (with_signals)
        set_timers(100);
    pthread_t workers[WORKERS], mover, emptier;
    for (uintptr_t i = 0; i < WORKERS; i++)
        REQUIRE(pthread_create(&workers[i], NULL, worker, (void *)i) == 0);
    if (with_migration)
        REQUIRE(pthread_create(&mover, NULL, controller, NULL) == 0);
    if (with_trim)
        REQUIRE(pthread_create(&emptier, NULL, trimmer, NULL) == 0);
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        usleep(20000);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000 <
                 left ||
             !enough());
    stop = 1;
    for (int i = 0; i < WORKERS; i++)
        REQUIRE(pthread_join(workers[i], NULL) == 0);
    if (with_migration)
        REQUIRE(pthread_join(mover, NULL) == 0);
    if (with_trim)
        REQUIRE(pthread_join(emptier, NULL) == 0);
    if (with_signals)
        set_timers(0);
    for (int i = 0; i < EXCHANGE; i++)
        if (exchange[i])
            drop(exchange[i]);
    if (taken != given)
        fail("%ld objects taken, %ld given back", (long)taken, (long)given);
    check_heap();
    printf("%ld objects, %ld signals, %ld moves, %ld trims, cache %s\n", (long)taken,
           (long)signals_seen, (long)moves, (long)trims, cache_mode());
    return 0;
}
