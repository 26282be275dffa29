/* A small program of every size and two threads, for tools that run a program
 * slowly.
 */
#include "stamp.h"
#include <pthread.h>

int shown = 42;

static void *run(void *argument)
{
    uint32_t owner = (uintptr_t)argument;
    struct stamped objects[120];
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 120; i++) {
            size_t size = i % 40 == 39 ? 300000 + i : 1 + i * i * 3;
            objects[i] = stamp(malloc(size), size, owner, i);
        }
        for (uint32_t i = 0; i < 120; i += 3) {
            stamp_check(&objects[i]);
            size_t size = objects[i].size, larger = size + size / 2 + 8;
            void *moved = realloc(objects[i].at, larger);
            REQUIRE(moved);
            stamp_check_moved(&objects[i], moved, size);
            objects[i] = stamp(moved, larger, owner, 1000 + i);
        }
        for (int i = 0; i < 120; i++)
            stamp_free(&objects[(i * 7) % 120]);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[2];
    run((void *)1);
    for (uintptr_t i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, run, (void *)(i + 2)) == 0);
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    check_heap();
    printf("shown %d, cache %s\n", shown, cache_mode());
    return 0;
}
