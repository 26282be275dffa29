/* When nothing is left to do, the scavenger sleeps: the kernel counts neither
 * a switch nor any time of its thread. It wakes when there is something again.
 *
 * usage: scavenger_idle sleeps | wakes | little | locked | alone | forked-alone
 *        | joined | off
 */
#include "scavenger_crew.h"
#include <sys/resource.h>
#include <sys/wait.h>

enum { UNABLE = 77, ASLEEP_FOR = 3000, NAPS = 20 };

/* It has slept for as long, and used no time. */
static void require_sleep(int id)
{
    await_sleep(id, 1500);
    unsigned long long switches = switches_of(id), time = time_of(id);
    usleep(ASLEEP_FOR * 1000);
    if (switches_of(id) != switches)
        fail("%llu switches of the idle scavenger", switches_of(id) - switches);
    if (time_of(id) != time)
        fail("%llu ns of the idle scavenger", time_of(id) - time);
}

static void it_sleeps_when_there_is_nothing_to_do(void)
{
    int id = crew_with_scavenger();
    memory_comes_back(4 * MIB);
    require_sleep(id);
    /* And after a small burst again. */
    send(1, burst);
    AWAIT(rss_anon() <= begun + 4 * MIB);
    require_sleep(id);
    end_crew();
}

/* Each load finds it asleep, or falling asleep just then. */
static void it_wakes_for_every_load(void)
{
    int id = crew_with_scavenger();
    uint64_t random = 3;
    for (int i = 0; i < NAPS; i++) {
        unsigned long long before = await_sleep(id, 20 + draw(&random) % 60);
        memory_comes_back(4 * MIB);
        REQUIRE(switches_of(id) > before);
    }
    end_crew();
}

/* Not half a MiB at once, in objects for which a CPU's cache has little room. */
static void a_little(int number)
{
    struct stamped some[4];
    for (int i = 0; i < 4; i++)
        some[i] = stamp(malloc(100 * KIB), 100 * KIB, number, i);
    for (int i = 0; i < 4; i++)
        stamp_free(&some[i]);
}

/* A heap that is not worth a thread has none. */
static void a_little_heap_has_no_thread(void)
{
    start_crew();
    for (int round = 0; round < 200; round++)
        send(round % CREW, a_little);
    usleep(500000);
    REQUIRE(threads().count == 1 + CREW);
    end_crew();
}

/* Locked pages are not given back, and that is not tried for ever. */
static void what_is_locked_is_left_alone(void)
{
    struct rlimit limit;
    REQUIRE(getrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    int id = crew_with_scavenger();
    if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
        printf("mlockall: errno %d\n", errno);
        exit(UNABLE);
    }
    send_all(fill);
    send_all(empty);
    require_sleep(id);
    malloc_trim(0);
    check_heap();
    /* It goes back once it may. */
    REQUIRE(munlockall() == 0);
    memory_comes_back(4 * MIB);
    end_crew();
}

static void load_alone(void)
{
    begin();
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < CREW; i++)
            fill(i);
        REQUIRE(threads().count == 1);
        for (int i = 0; i < CREW; i++)
            empty(i);
    }
    usleep(200000);
    burst(1);
    REQUIRE(threads().count == 1);
}

static void in_a_child(void)
{
    int status;
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        load_alone();
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
}

/* A thread that has ended does not count. */
static void after_a_thread_has_ended(void)
{
    start_crew();
    end_crew();
    /* A thread that was waited for leaves its folder a moment later. */
    AWAIT(threads().count == 1);
    load_alone();
    in_a_child();
}

static void nothing_goes_back_and_no_thread_comes(void)
{
    start_crew();
    for (int round = 0; round < 3; round++) {
        send_all(fill);
        send_all(empty);
    }
    /* All that comes between both counts, once before: it may touch a page of the stack first. */
    usleep(1);
    REQUIRE(threads().count == 1 + CREW);
    rss_anon();
    size_t held_on = rss_anon();
    REQUIRE(held_on > begun + CREW * HELD_MIB * MIB * 3 / 4);
    usleep(2000000);
    REQUIRE(threads().count == 1 + CREW);
    REQUIRE(rss_anon() == held_on);
    /* But who asks for it gets it back. */
    REQUIRE(malloc_trim(0) == 1);
    REQUIRE(rss_anon() <= begun + 4 * MIB);
    end_crew();
    for (int i = 0; i < CREW; i++)
        fill(i);
    for (int i = 0; i < CREW; i++)
        empty(i);
    REQUIRE(rss_anon() > begun + CREW * HELD_MIB * MIB * 3 / 4);
}

int main(int count, char **arguments)
{
    const char *what = count > 1 ? arguments[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(what, "sleeps") == 0)
        it_sleeps_when_there_is_nothing_to_do();
    else if (strcmp(what, "wakes") == 0)
        it_wakes_for_every_load();
    else if (strcmp(what, "little") == 0)
        a_little_heap_has_no_thread();
    else if (strcmp(what, "locked") == 0)
        what_is_locked_is_left_alone();
    else if (strcmp(what, "alone") == 0)
        load_alone();
    else if (strcmp(what, "forked-alone") == 0)
        in_a_child();
    else if (strcmp(what, "joined") == 0)
        after_a_thread_has_ended();
    else if (strcmp(what, "off") == 0)
        nothing_goes_back_and_no_thread_comes();
    else
        return 2;
    printf("cache %s\n", cache_mode());
    return 0;
}
