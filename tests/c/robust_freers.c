/* Threads that only allocate, and threads that only free: memory flows one way,
 * and must come round again, or the process grows without end.
 */
#include "stamp.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { MAKERS = 3, FREERS = 5, RING = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static pthread_cond_t emptied = PTHREAD_COND_INITIALIZER;
static struct stamped ring[RING];
static unsigned begin, count;
static int makers_left = MAKERS;
static long freed;

static void *make(void *argument)
{
    uint32_t owner = (uintptr_t)argument;
    uint64_t random = owner;
    long objects = laps(150000);
    for (long i = 0; i < objects; i++) {
        uint64_t r = draw(&random);
        size_t size = r % 256 == 0 ? 1 + (r >> 16) % (300 << 10) : 1 + (r >> 16) % 2000;
        struct stamped object = stamp(malloc(size), size, owner, i);
        pthread_mutex_lock(&lock);
        while (count == RING)
            pthread_cond_wait(&emptied, &lock);
        ring[(begin + count++) % RING] = object;
        pthread_cond_signal(&filled);
        pthread_mutex_unlock(&lock);
    }
    pthread_mutex_lock(&lock);
    makers_left--;
    pthread_cond_broadcast(&filled);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void *only_free(void *argument)
{
    for (;;) {
        struct stamped objects[64];
        unsigned got = 0;
        pthread_mutex_lock(&lock);
        while (count == 0 && makers_left > 0)
            pthread_cond_wait(&filled, &lock);
        while (count > 0 && got < 64) {
            objects[got++] = ring[begin];
            begin = (begin + 1) % RING;
            count--;
        }
        freed += got;
        pthread_cond_broadcast(&emptied);
        pthread_mutex_unlock(&lock);
        if (got == 0)
            return NULL;
        while (got > 0)
            stamp_free(&objects[--got]);
    }
}

static long resident_kib(void)
{
    long pages[2] = {0};
    FILE *file = fopen("/proc/self/statm", "r");
    REQUIRE(file && fscanf(file, "%ld %ld", &pages[0], &pages[1]) == 2);
    fclose(file);
    return pages[1] * 4;
}

int main(void)
{
    pthread_t makers[MAKERS], freers[FREERS];
    for (uintptr_t i = 0; i < MAKERS; i++)
        REQUIRE(pthread_create(&makers[i], NULL, make, (void *)(i + 1)) == 0);
    for (int i = 0; i < FREERS; i++)
        REQUIRE(pthread_create(&freers[i], NULL, only_free, NULL) == 0);
    for (int i = 0; i < MAKERS; i++)
        REQUIRE(pthread_join(makers[i], NULL) == 0);
    for (int i = 0; i < FREERS; i++)
        REQUIRE(pthread_join(freers[i], NULL) == 0);
    REQUIRE(freed == MAKERS * laps(150000));
    /* About 8 MiB are live at most, of 700 MiB that passed through. */
    long kib = resident_kib();
    if (kib > 120 << 10)
        fail("%ld KiB are held after all was freed by other threads", kib);
    check_heap();
    printf("%ld objects, %ld KiB held, cache %s\n", freed, kib, cache_mode());
    return 0;
}
