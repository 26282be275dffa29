/* A library for dlopen: its thread-locals are large enough to come from the
 * heap, and their destructors run when a thread ends, as C++ registers them.
 * Compiled several times with another PLUGIN each.
 */
#include "stamp.h"

extern int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *dso);
extern void *__dso_handle;

static __thread char large[40000 + PLUGIN * 1000];
static __thread struct stamped local;
static struct stamped whole;

__attribute__((constructor)) static void begin(void)
{
    whole = stamp(malloc(777 * PLUGIN + 1), 777 * PLUGIN + 1, 800 + PLUGIN, 0);
}

__attribute__((destructor)) static void end(void)
{
    stamp_free(&whole);
}

static void destroy(void *object)
{
    struct stamped *held = object;
    struct stamped fresh = stamp(malloc(held->size), held->size, 810 + PLUGIN, 1);
    stamp_free(held);
    stamp_free(&fresh);
}

/* Uses the thread-locals; with `register_it` their destructor runs at the
 * thread's end (and keeps the library loaded until then). */
void plugin_use(uint32_t sequence, int register_it)
{
    for (size_t i = 0; i < sizeof large; i += 1000)
        large[i]++;
    struct stamped object = stamp(malloc(3000), 3000, 820 + PLUGIN, sequence);
    if (register_it && !local.at) {
        local = stamp(calloc(1, 64 + sequence), 64 + sequence, 830 + PLUGIN, sequence);
        REQUIRE(__cxa_thread_atexit_impl(destroy, &local, &__dso_handle) == 0);
    }
    stamp_free(&object);
}
