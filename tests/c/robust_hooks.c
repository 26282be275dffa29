/* malloc at the edges of a program's life: before main, in pthread_key
 * destructors, in atexit handlers and destructors, and in libraries that come
 * and go by dlopen.
 *
 * usage: robust_hooks [PLUGIN...]     (linked with robust_early.c)
 */
#include "stamp.h"
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

extern uint32_t early_renew(int last);

/* More keys than the 32 whose values stand in the thread itself. */
enum { KEYS = 36, THREADS = 8, EARLY = 32 };

static struct stamped before_all[EARLY], before_main[EARLY];
static struct stamped handed_over[64];
static pthread_key_t keys[KEYS];
static atomic_long destructor_runs, held;

static void begin_all(int count, char **arguments, char **environment)
{
    for (uint32_t i = 0; i < EARLY; i++)
        before_all[i] = stamp(malloc(8 << i % 14), 8 << i % 14, 100, i);
}
/* Runs before the constructors of every library. */
__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **,
                                                                     char **) = begin_all;

__attribute__((constructor(101))) static void begin(void)
{
    for (uint32_t i = 0; i < EARLY; i++) {
        before_main[i] = stamp(calloc(3, 1 + i * 99), 3 * (1 + i * 99), 101, i);
        if (i % 2)
            stamp_free(&before_all[i]);
    }
}

__attribute__((destructor)) static void end(void)
{
    for (uint32_t i = 0; i < EARLY; i++)
        stamp_free(&before_main[i]);
    for (uint32_t i = 0; i < EARLY; i += 2)
        stamp_free(&before_all[i]);
    check_heap();
    write(1, "program: done\n", 14);
}

static void at_exit(void)
{
    static uint32_t run;
    struct stamped *object = &handed_over[run % 64];
    if (object->at)
        stamp_free(object);
    struct stamped fresh = stamp(malloc(1 + run * 1003), 1 + run * 1003, 102, run);
    stamp_free(&fresh);
    if (run++ == 40)
        for (int i = 0; i < 40; i++)
            REQUIRE(atexit(at_exit) == 0);
}

/* What a thread keeps under a key: renewed in each round of destructors. */
struct kept {
    int round;
    int key;
    struct stamped object;
};

static void destroy(void *value)
{
    struct kept *kept = value;
    struct kept next = *kept;
    stamp_free(&next.object);
    free(kept);
    atomic_fetch_add(&destructor_runs, 1);
    atomic_fetch_sub(&held, 1);
    early_renew(0);
    if (++next.round >= PTHREAD_DESTRUCTOR_ITERATIONS) {
        early_renew(1);
        return;
    }
    size_t size = 1 + 300 * next.round * (next.key + 1);
    next.object = stamp(malloc(size), size, 200 + next.key, next.round);
    struct kept *again = malloc(sizeof *again);
    REQUIRE(again);
    *again = next;
    atomic_fetch_add(&held, 1);
    REQUIRE(pthread_setspecific(keys[next.key], again) == 0);
}

static void *thread_with_keys(void *argument)
{
    for (int k = 0; k < KEYS; k++) {
        struct kept *kept = malloc(sizeof *kept);
        REQUIRE(kept);
        *kept = (struct kept){0, k, stamp(malloc(50 + k), 50 + k, 200 + k, 0)};
        atomic_fetch_add(&held, 1);
        REQUIRE(pthread_setspecific(keys[k], kept) == 0);
    }
    early_renew(0);
    return NULL;
}

static char **plugins;
static int plugin_count;

static void *thread_with_plugins(void *argument)
{
    uint64_t random = (uintptr_t)argument;
    for (uint32_t i = 0; i < 12; i++) {
        const char *path = plugins[draw(&random) % plugin_count];
        void *plugin = dlopen(path, draw(&random) % 2 ? RTLD_NOW : RTLD_LAZY);
        if (!plugin)
            fail("dlopen %s: %s", path, dlerror());
        void (*use)(uint32_t, int) = (void (*)(uint32_t, int))dlsym(plugin, "plugin_use");
        REQUIRE(use);
        for (uint32_t j = 0; j < 5; j++)
            use(i * 5 + j, draw(&random) % 16 == 0);
        REQUIRE(dlclose(plugin) == 0);
    }
    return NULL;
}

static void wave(void *(*run)(void *), uintptr_t number)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, run, (void *)(number * 64 + i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
}

int main(int count, char **arguments)
{
    for (uint32_t i = 0; i < 64; i++)
        handed_over[i] = stamp(malloc(1 + i * 5000), 1 + i * 5000, 103, i);
    for (int i = 0; i < 64; i++)
        REQUIRE(atexit(at_exit) == 0);
    for (int k = 0; k < KEYS; k++)
        REQUIRE(pthread_key_create(&keys[k], destroy) == 0);
    long waves = laps(30);
    for (long i = 0; i < waves; i++)
        wave(thread_with_keys, i);
    REQUIRE(destructor_runs == waves * THREADS * KEYS * PTHREAD_DESTRUCTOR_ITERATIONS);
    REQUIRE(held == 0);
    check_heap();
    plugins = arguments + 1;
    plugin_count = count - 1;
    for (long i = 0; plugin_count > 0 && i < waves / 2; i++)
        wave(thread_with_plugins, i);
    check_heap();
    early_renew(1);
    printf("cache %s\n", cache_mode());
    fflush(stdout);
    return 0;
}
