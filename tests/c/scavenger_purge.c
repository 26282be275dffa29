/* malloc_trim(3) and thmalloc_purge() give back everything at once, from any
 * thread, and say what that was. Nobody else gives anything back meanwhile.
 *
 * usage: scavenger_purge, with release_delay=off
 */
#include "scavenger_crew.h"
#include <sched.h>

/* Pages that the process itself touches between two looks. */
#define NOISE (64 * KIB)

static size_t (*thmalloc_purge)(void);
static int result;
static size_t bytes;

static void trim(int number)
{
    result = malloc_trim(0);
}

static void purge(int number)
{
    bytes = thmalloc_purge();
}

/* Each member on a CPU of its own, as far as there are some. */
static void pin(int number)
{
    cpu_set_t all, one;
    REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
    int which = number % CPU_COUNT(&all), cpu = -1;
    for (int i = 0; i <= which; i++)
        do
            cpu++;
        while (!CPU_ISSET(cpu, &all));
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
}

/* Objects that fit into the CPU's cache, of one class. */
static void leave_in_the_cache(int number)
{
    enum { COUNT = 64 };
    static struct stamped objects[CREW][COUNT];
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < COUNT; i++)
            objects[number][i] = stamp(malloc(16 * KIB), 16 * KIB, number, i);
        for (int i = 0; i < COUNT; i++)
            stamp_free(&objects[number][i]);
    }
}

static void it_says_whether_something_was_given_back(void)
{
    for (int from = 0; from < CREW; from++) {
        send_all(fill);
        send_all(empty);
        send(from, trim);
        REQUIRE(result == 1);
        size_t now = rss_anon();
        if (now > begun + 2 * MIB)
            fail("%zu KiB are left after malloc_trim", (now - begun) / KIB);
        send((from + 1) % CREW, trim);
        REQUIRE(result == 0);
        REQUIRE(malloc_trim(0) == 0);
    }
}

static void it_empties_the_caches_of_other_cpus(void)
{
    send_all(pin);
    malloc_trim(0);
    size_t before = rss_anon();
    for (int i = 0; i < CREW; i++)
        send(i, leave_in_the_cache);
    /* They were there, and they are not any more. */
    REQUIRE(rss_anon() >= before + MIB / 2);
    send(0, purge);
    REQUIRE(bytes >= MIB / 2);
    REQUIRE(rss_anon() <= before + NOISE);
    send(0, purge);
    REQUIRE(bytes == 0);
}

static void fill_pages(int number)
{
    for (int i = 0; i < HELD; i++)
        held[number][i] = stamp(malloc(4 * KIB), 4 * KIB, number, i);
}

/* Where every page was written to, the bytes are those by which the process
 * gets smaller. */
static void it_says_how_much_was_given_back(void)
{
    for (int round = 0; round < 4; round++) {
        send_all(fill_pages);
        for (int i = 0; i < CREW; i++)
            for (int j = 0; j < HELD; j++)
                if (round % 2 == 0 || mixed(i * HELD + j) % 50 != 0)
                    stamp_free(&held[i][j]);
        size_t before = rss_anon();
        size_t said = thmalloc_purge();
        size_t fell = before - rss_anon();
        REQUIRE(fell > CREW * HELD * 4 * KIB / 10 * 9);
        if (said > fell + NOISE || fell > said + NOISE)
            fail("purge says %zu KiB, the process fell by %zu", said / KIB, fell / KIB);
        for (int i = 0; i < CREW; i++)
            for (int j = 0; j < HELD; j++)
                if (held[i][j].at)
                    stamp_free(&held[i][j]);
        thmalloc_purge();
    }
}

int main(void)
{
    thmalloc_purge = (size_t (*)(void))dlsym(RTLD_DEFAULT, "thmalloc_purge");
    REQUIRE(thmalloc_purge);
    start_crew();
    it_says_whether_something_was_given_back();
    it_says_how_much_was_given_back();
    it_empties_the_caches_of_other_cpus();
    REQUIRE(threads().count == 1 + CREW);
    check_heap();
    end_crew();
    printf("cache %s\n", cache_mode());
    return 0;
}
