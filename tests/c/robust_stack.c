/* Little stack: coroutines and small threads allocate, too. Every size and
 * function runs on a stack of 8 KiB above a page that may not be touched, and
 * in threads of the smallest stack that the system allows.
 */
#include "stamp.h"
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { PAGE = 4096, COROUTINE_STACK = 8192, OBJECTS = 400 };

static ucontext_t outside, inside;
static struct stamped objects[OBJECTS];
static __thread void *kept[600];

/* Without the stamps' own frames: only the allocator's depth matters here. */
static void use_heap(void)
{
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 600; i++)
            kept[i] = i % 3 == 0 ? calloc(1, i * i) : malloc(1 + i * i * (round + 1) / 2);
        for (size_t i = 0; i < 600; i += 2)
            kept[i] = realloc(kept[i], i * i * 2 + 1);
        for (size_t i = 0; i < 600; i++) {
            REQUIRE(kept[i]);
            free(kept[i]);
        }
        for (size_t i = 0; i < 600; i++)
            kept[i] = memalign(64 << i % 6, 100);
        for (size_t i = 0; i < 600; i++)
            free(kept[i]);
        malloc_trim(0);
    }
}

static void on_coroutine(void)
{
    use_heap();
    swapcontext(&inside, &outside);
}

static void *on_thread(void *argument)
{
    use_heap();
    return NULL;
}

int main(void)
{
    unsigned char *stack = mmap(NULL, PAGE + COROUTINE_STACK, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(stack != MAP_FAILED);
    REQUIRE(mprotect(stack, PAGE, PROT_NONE) == 0);
    memset(stack + PAGE, 0x5a, COROUTINE_STACK);
    for (uint32_t i = 0; i < OBJECTS; i++)
        objects[i] = stamp(malloc(1 + i * 17), 1 + i * 17, 1, i);
    REQUIRE(getcontext(&inside) == 0);
    inside.uc_stack.ss_sp = stack + PAGE;
    inside.uc_stack.ss_size = COROUTINE_STACK;
    inside.uc_link = NULL;
    makecontext(&inside, on_coroutine, 0);
    REQUIRE(swapcontext(&outside, &inside) == 0);
    size_t free_bytes = 0;
    while (stack[PAGE + free_bytes] == 0x5a)
        free_bytes++;

    pthread_attr_t attributes;
    pthread_t threads[3];
    REQUIRE(pthread_attr_init(&attributes) == 0);
    /* The thread's own block of thread-locals stands in its stack. */
    REQUIRE(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN + sizeof kept) == 0);
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_create(&threads[i], &attributes, on_thread, NULL) == 0);
    for (int i = 0; i < 3; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < OBJECTS; i++)
        stamp_free(&objects[i]);
    check_heap();
    printf("%zu bytes of stack used, cache %s\n", COROUTINE_STACK - free_bytes, cache_mode());
    return 0;
}
