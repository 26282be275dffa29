/* malloc_trim: gives all that is free back to the system, the caches of
 * other CPUs included, says whether it did, and harms nothing that is live. */
#include "surface.h"
#include <pthread.h>
#include <sched.h>

enum { COUNT = 200000, KEPT = 997 };
static unsigned char *objects[COUNT];

static size_t size_of(size_t i) { return i % 100 == 0 ? 20000 : 16 + i * 37 % 1000; }

static void fill_and_free(size_t from, size_t to, size_t keep) {
    for (size_t i = from; i < to; i++) {
        objects[i] = malloc(size_of(i));
        memset(objects[i], (int)i, size_of(i));
    }
    for (size_t i = from; i < to; i++)
        if (i % keep) {
            free(objects[i]);
            objects[i] = NULL;
        }
}

static void check_kept(void) {
    for (size_t i = 0; i < COUNT; i++)
        if (objects[i]) {
            CHECK(all_bytes_are(objects[i], (int)i, size_of(i)), "object %zu", i);
            free(objects[i]);
            objects[i] = NULL;
        }
}

static void what_is_free_is_given_back(void) {
    malloc_trim(0);
    size_t before = status_bytes("VmRSS");
    fill_and_free(0, COUNT, COUNT);
    char *large = malloc(100 * MIB);
    memset(large, 1, 100 * MIB);
    free(large);
    malloc_trim(0);
    size_t after = status_bytes("VmRSS");
    CHECK(after < before + 4 * MIB, "from %zu to %zu KiB", before / KIB, after / KIB);
    check_kept();
}

static void what_is_live_stays(void) {
    fill_and_free(0, COUNT, KEPT);
    malloc_trim(0);
    malloc_trim(1 * MIB);
    check_kept();
}

static void it_says_whether_it_gave_back(void) {
    void *pieces[400];
    malloc_trim(0);
    for (int i = 0; i < 400; i++)
        pieces[i] = memset(malloc(100 * KIB), 1, 100 * KIB);
    for (int i = 0; i < 400; i++)
        free(pieces[i]);
    CHECK(malloc_trim(0) == 1, "40 MB were free");
    int last = 1;
    for (int i = 0; i < 4 && last; i++)
        last = malloc_trim(0);
    CHECK(last == 0, "nothing is left to give back");
}

static void *on_one_cpu(void *argument) {
    size_t number = (size_t)argument, share = COUNT / 4;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(number % (size_t)sysconf(_SC_NPROCESSORS_ONLN), &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    fill_and_free(number * share, (number + 1) * share, COUNT);
    return NULL;
}

static void the_caches_of_other_cpus_are_emptied(void) {
    malloc_trim(0);
    size_t before = status_bytes("VmRSS");
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, on_one_cpu, (void *)i);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    check_kept();
    malloc_trim(0);
    size_t after = status_bytes("VmRSS");
    CHECK(after < before + 4 * MIB, "from %zu to %zu KiB", before / KIB, after / KIB);
}

int main(void) {
    what_is_free_is_given_back();
    what_is_live_stays();
    it_says_whether_it_gave_back();
    the_caches_of_other_cpus_are_emptied();
    return finish();
}
