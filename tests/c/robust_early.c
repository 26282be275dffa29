/* A shared library that allocates in its constructor, in thread-locals and in
 * its destructor. Linked to a program or preloaded beside the allocator.
 */
#include "stamp.h"

static struct stamped early[64];
static __thread struct stamped mine;

__attribute__((constructor)) static void begin(void)
{
    for (uint32_t i = 0; i < 64; i++)
        early[i] = stamp(malloc(1 + i * i * 7), 1 + i * i * 7, 900, i);
    for (uint32_t i = 0; i < 64; i += 2)
        stamp_free(&early[i]);
}

/* One object a thread, renewed at each call; how often it was called here. */
uint32_t early_renew(int last)
{
    uint32_t sequence = mine.sequence + 1;
    if (mine.at)
        stamp_free(&mine);
    if (!last)
        mine = stamp(malloc(100 + sequence), 100 + sequence, 901, sequence);
    return sequence;
}

__attribute__((destructor)) static void end(void)
{
    for (uint32_t i = 1; i < 64; i += 2)
        stamp_free(&early[i]);
    struct stamped late = stamp(malloc(5000), 5000, 902, 0);
    stamp_free(&late);
    write(1, "early library: done\n", 20);
}
