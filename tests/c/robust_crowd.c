/* Many threads on few CPUs: in waves, each thread takes over its lane from the
 * one before it, allocates in every way there is, and hands objects to other
 * lanes, which check and free them. Some lanes only free.
 *
 * usage: robust_crowd LANES GENERATIONS STEPS [large]
 *
 * `large`: most objects are beyond the size classes and have spans of their own.
 */
#include "stamp.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { MAX_LANES = 128, SLOTS = 48, INBOX = 256 };

struct lane {
    pthread_mutex_t lock;
    unsigned count;
    struct stamped inbox[INBOX];
    struct stamped slots[SLOTS];
    uint64_t random;
    uint32_t sequence;
    pthread_t last;
};

static struct lane lanes[MAX_LANES];
static unsigned lane_count;
static int generations;
static long steps;
static int large;
static atomic_long taken, given, finished;

/* The argument of a lane's next thread. */
struct turn {
    uint32_t lane;
    int generation;
    pthread_t before;
};
static struct turn turns[MAX_LANES];

static size_t any_size(uint64_t *random)
{
    uint64_t r = draw(random), pick = r % 1000, size = r >> 20;
    if (large && pick < 900)
        return 1 + size % (pick < 600 ? 800 << 10 : 3 << 20);
    if (pick < 520)
        return 1 + size % 128;
    if (pick < 800)
        return 1 + size % 1024;
    if (pick < 970)
        return 1 + size % 32768;
    if (pick < 997)
        return 1 + size % (256 << 10);
    return 1 + size % (4 << 20);
}

static int all_zero(const unsigned char *bytes, size_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

static struct stamped take(struct lane *lane, uint32_t id)
{
    uint64_t r = draw(&lane->random);
    size_t size = any_size(&lane->random), alignment = 0;
    void *object = NULL;
    switch (r % 16) {
    case 0:
    case 1:
        object = calloc(1, size);
        if (object && !all_zero(object, size))
            fail("calloc: %zu bytes at %p are not all 0", size, object);
        break;
    case 2:
        alignment = (size_t)16 << (r >> 8) % 9;
        object = memalign(alignment, size);
        break;
    case 3:
        alignment = (size_t)8 << (r >> 8) % 10;
        if (posix_memalign(&object, alignment, size) != 0)
            object = NULL;
        break;
    case 4:
        object = realloc(NULL, size);
        break;
    default:
        object = malloc(size);
    }
    if (alignment && (uintptr_t)object % alignment)
        fail("object %p of %zu bytes is not aligned to %zu", object, size, alignment);
    if (malloc_usable_size(object) < size)
        fail("object %p has %zu usable bytes of %zu", object,
             malloc_usable_size(object), size);
    atomic_fetch_add_explicit(&taken, 1, memory_order_relaxed);
    return stamp(object, size, id, lane->sequence++);
}

static void give(struct stamped *object)
{
    stamp_free(object);
    atomic_fetch_add_explicit(&given, 1, memory_order_relaxed);
}

static void resize(struct lane *lane, struct stamped *object, uint32_t id)
{
    size_t size = any_size(&lane->random);
    stamp_check(object);
    void *moved = realloc(object->at, size);
    if (!moved)
        fail("realloc to %zu bytes gave NULL, errno %d", size, errno);
    stamp_check_moved(object, moved, size < object->size ? size : object->size);
    *object = stamp(moved, size, id, lane->sequence++);
}

static int post(uint32_t to, struct stamped object)
{
    struct lane *lane = &lanes[to];
    pthread_mutex_lock(&lane->lock);
    int fits = lane->count < INBOX;
    if (fits)
        lane->inbox[lane->count++] = object;
    pthread_mutex_unlock(&lane->lock);
    return fits;
}

static void read_inbox(struct lane *lane)
{
    struct stamped objects[INBOX];
    pthread_mutex_lock(&lane->lock);
    unsigned count = lane->count;
    memcpy(objects, lane->inbox, count * sizeof *objects);
    lane->count = 0;
    pthread_mutex_unlock(&lane->lock);
    for (unsigned i = 0; i < count; i++)
        give(&objects[i]);
}

static void *run(void *argument)
{
    struct turn turn = *(struct turn *)argument;
    struct lane *lane = &lanes[turn.lane];
    if (turn.generation > 0)
        REQUIRE(pthread_join(turn.before, NULL) == 0);
    long left = steps / 2 + draw(&lane->random) % (steps + 1);
    int only_frees = turn.lane % 8 == 7;
    for (; left > 0; left--) {
        if (only_frees) {
            read_inbox(lane);
            sched_yield();
            left -= 15;
            continue;
        }
        uint64_t r = draw(&lane->random);
        struct stamped *slot = &lane->slots[r % SLOTS];
        r >>= 32;
        if (!slot->at) {
            *slot = take(lane, turn.lane);
        } else if (r % 4 == 0) {
            if (post((r >> 8) % lane_count, *slot))
                slot->at = NULL;
            else
                give(slot);
        } else if (r % 4 == 1) {
            resize(lane, slot, turn.lane);
        } else {
            give(slot);
        }
        if (left % 32 == 0)
            read_inbox(lane);
    }
    if (turn.generation + 1 < generations) {
        struct turn *next = &turns[turn.lane];
        *next = (struct turn){turn.lane, turn.generation + 1, pthread_self()};
        REQUIRE(pthread_create(&lane->last, NULL, run, next) == 0);
    } else {
        atomic_fetch_add(&finished, 1);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    REQUIRE(count == 4 || (count == 5 && strcmp(arguments[4], "large") == 0));
    large = count == 5;
    lane_count = atoi(arguments[1]);
    generations = laps(atoi(arguments[2]));
    steps = atol(arguments[3]);
    REQUIRE(lane_count > 0 && lane_count <= MAX_LANES);
    for (uint32_t i = 0; i < lane_count; i++) {
        pthread_mutex_init(&lanes[i].lock, NULL);
        lanes[i].random = mixed(i) ^ getpid();
    }
    pthread_t first[MAX_LANES];
    for (uint32_t i = 0; i < lane_count; i++) {
        turns[i] = (struct turn){i, 0, 0};
        REQUIRE(pthread_create(&first[i], NULL, run, &turns[i]) == 0);
    }
    /* Each thread is joined by the next of its lane; the last ones here. */
    while (finished < lane_count)
        usleep(1000);
    for (uint32_t i = 0; i < lane_count; i++)
        REQUIRE(pthread_join(generations > 1 ? lanes[i].last : first[i], NULL) == 0);
    check_heap();
    for (uint32_t i = 0; i < lane_count; i++) {
        read_inbox(&lanes[i]);
        for (int s = 0; s < SLOTS; s++)
            if (lanes[i].slots[s].at)
                give(&lanes[i].slots[s]);
    }
    if (taken != given)
        fail("%ld objects taken, %ld given back", (long)taken, (long)given);
    check_heap();
    malloc_trim(0);
    check_heap();
    printf("%ld objects, cache %s\n", (long)taken, cache_mode());
    return 0;
}
