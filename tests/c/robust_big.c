/* Much memory: gigabytes that stay intact, one object larger than the machine,
 * and a million spans.
 *
 * usage: robust_big live GIBIBYTES | vast GIBIBYTES | million COUNT
 */
#include "stamp.h"
#include <pthread.h>
#include <sys/mman.h>

static long resident_kib(void)
{
    long pages[2] = {0};
    FILE *file = fopen("/proc/self/statm", "r");
    REQUIRE(file && fscanf(file, "%ld %ld", &pages[0], &pages[1]) == 2);
    fclose(file);
    return pages[1] * 4;
}

/* Memory for the program's own tables, not from the heap under test. */
static void *table(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    return memory;
}

/* Most objects are small; most bytes lie in large ones. */
static size_t any_size(uint64_t *random)
{
    uint64_t r = draw(random);
    size_t top = r % 64 == 0 ? 1 << 20 : r % 8 == 1 ? 64 << 10 : r % 8 < 5 ? 4096 : 512;
    return 64 + (r >> 16) % (top - 64 + 1);
}

enum { THREADS = 4, MOST = 6 << 20 };

struct share {
    struct stamped *objects;
    size_t count;
    size_t bytes;
    size_t goal;
    uint32_t owner;
};

static void *fill(void *argument)
{
    struct share *share = argument;
    uint64_t random = share->owner;
    while (share->bytes < share->goal && share->count < MOST) {
        size_t size = any_size(&random);
        share->objects[share->count] =
            stamp(malloc(size), size, share->owner, share->count);
        share->bytes += size;
        share->count++;
    }
    return NULL;
}

static void *check_and_free(void *argument)
{
    struct share *share = argument;
    for (size_t i = 0; i < share->count; i++)
        stamp_check(&share->objects[i]);
    /* Every second object first, so that the holes do not all join up. */
    for (size_t i = 0; i < share->count; i += 2)
        stamp_free(&share->objects[i]);
    for (size_t i = 1; i < share->count; i += 2)
        stamp_free(&share->objects[i]);
    return NULL;
}

static void on_all(void *(*run)(void *), struct share *shares, int shift)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, run, &shares[(i + shift) % THREADS]) == 0);
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
}

static void live(size_t gibibytes)
{
    struct share shares[THREADS] = {{0}};
    size_t count = 0, bytes = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        shares[i].objects = table(MOST * sizeof(struct stamped));
        shares[i].goal = (gibibytes << 30) / THREADS;
        shares[i].owner = i + 1;
    }
    on_all(fill, shares, 0);
    check_heap();
    for (int i = 0; i < THREADS; i++) {
        count += shares[i].count;
        bytes += shares[i].bytes;
    }
    REQUIRE(bytes >= gibibytes << 30);
    on_all(check_and_free, shares, 1);
    check_heap();
    printf("%zu objects, %zu bytes live and intact\n", count, bytes);
}

/* No page of a huge object is touched, neither by malloc nor by calloc. What
 * is written here may cost a hugepage each; the heap's books, one part in 8192.
 */
static void vast(size_t gibibytes)
{
    size_t size = gibibytes << 30;
    long before = resident_kib();
    for (int round = 0; round < 3; round++) {
        unsigned char *object = round == 1 ? calloc(1, size) : malloc(size);
        if (!object) {
            if (errno != ENOMEM)
                fail("malloc(%zu) gave NULL with errno %d", size, errno);
            printf("the system refuses %zu GiB in one piece\n", gibibytes);
            exit(77);
        }
        REQUIRE(malloc_usable_size(object) >= size);
        for (size_t at = 0; at < size; at += size / 8) {
            REQUIRE(round != 1 || object[at] == 0);
            object[at] = round + 1;
        }
        object[size - 1] = 9;
        for (size_t at = 0; at < size; at += size / 8)
            REQUIRE(object[at] == round + 1);
        long grown = resident_kib() - before;
        if (grown > (40 << 10) + (long)(size >> 23))
            fail("an untouched object of %zu GiB holds %ld KiB", gibibytes, grown);
        if (round == 2) {
            /* To more and to less, without touching it either. */
            object = realloc(object, size + (1 << 30));
            REQUIRE(object && object[0] == 3 && object[size - 1] == 9);
            long held = resident_kib();
            object = realloc(object, size / 2);
            REQUIRE(object && object[0] == 3 && object[size / 8 * 3] == 3);
            if (resident_kib() > held + (8 << 10))
                fail("what was given up holds %ld KiB", resident_kib() - held);
        }
        free(object);
        check_heap();
    }
    printf("%zu GiB untouched, %ld KiB more held\n", gibibytes, resident_kib() - before);
}

/* Objects of 300 KiB have a span each; what they cost is their metadata: less
 * than 768 bytes for each, of 300 KiB. */
static void million(size_t count)
{
    enum { SIZE = 300 << 10 };
    unsigned char **objects = table(count * sizeof *objects);
    for (size_t i = 0; i < count; i++)
        objects[i] = NULL;
    long before = resident_kib();
    for (size_t i = 0; i < count; i++) {
        objects[i] = malloc(SIZE);
        if (!objects[i])
            fail("object %zu of %zu: NULL, errno %d", i, count, errno);
    }
    long grown = resident_kib() - before;
    if (grown > (long)count * 768 / 1024)
        fail("%zu untouched objects hold %ld KiB", count, grown);
    for (size_t i = 0; i < count; i += count / 2000 + 1)
        memcpy(objects[i] + SIZE - 8, &i, 8);
    check_heap();
    for (size_t i = 0, is; i < count; i += count / 2000 + 1)
        if (memcpy(&is, objects[i] + SIZE - 8, 8), is != i)
            fail("object %zu has changed", i);
    for (size_t step = 0; step < 3; step++)
        for (size_t i = step; i < count; i += 3)
            free(objects[i]);
    check_heap();
    malloc_trim(0);
    check_heap();
    printf("%zu spans, %ld KiB of metadata\n", count, grown);
}

int main(int count, char **arguments)
{
    REQUIRE(count == 3);
    size_t number = strtoul(arguments[2], NULL, 10);
    if (strcmp(arguments[1], "live") == 0)
        live(number);
    else if (strcmp(arguments[1], "vast") == 0)
        vast(number);
    else if (strcmp(arguments[1], "million") == 0)
        million(number);
    else
        return 2;
    return 0;
}
