/* The scavenger's thread is nobody's business: not that of signals, of those
 * who change the user, of those who wait for the process to end.
 *
 * usage: scavenger_thread name | signals | user | user-of-worker
 *                         | main-ends running|absent|racing|working | once
 */
#include "scavenger_crew.h"
#include <grp.h>
#include <signal.h>
#include <stdatomic.h>

enum { NOBODY = 65534, UNABLE = 77, SIGNALS = 500 };

static void require_no_signal_blocked(int number)
{
    REQUIRE(status_of("thread-self", "SigBlk", 16) == 0);
}

/* All can be blocked but SIGKILL and SIGSTOP, and libc's own two must not be. */
static void it_has_a_name_and_blocks_all_signals_but_those_of_libc(void)
{
    int id = crew_with_scavenger();
    char task[48];
    snprintf(task, sizeof task, "self/task/%d", id);
    unsigned long long blocked = status_of(task, "SigBlk", 16);
    unsigned long long spared = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1) |
                                1ull << (32 - 1) | 1ull << (33 - 1);
    if (blocked != ~spared)
        fail("the scavenger blocks %#llx, should block %#llx", blocked, ~spared);
    /* Who started it blocks no more than before. */
    send_all(require_no_signal_blocked);
    end_crew();
}

static int main_thread;
static atomic_int handled, elsewhere;

static void handler(int signal)
{
    if (syscall(SYS_gettid) != main_thread)
        elsewhere++;
    handled++;
}

static void block(int number)
{
    sigset_t all;
    sigfillset(&all);
    REQUIRE(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
}

/* Only one thread takes signals at all: it gets every one. */
static void it_never_handles_a_signal(void)
{
    crew_with_scavenger();
    main_thread = syscall(SYS_gettid);
    struct sigaction action = {.sa_handler = handler};
    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    REQUIRE(sigaction(SIGRTMIN + 3, &action, NULL) == 0);
    send_all(block);
    for (int i = 0; i < SIGNALS; i++) {
        int before = handled;
        REQUIRE(kill(getpid(), i % 2 ? SIGUSR1 : SIGRTMIN + 3) == 0);
        AWAIT(handled == before + 1);
    }
    REQUIRE(handled == SIGNALS && elsewhere == 0);
    /* Where no thread takes any, they wait, and end nothing. */
    sigset_t pending;
    block(0);
    REQUIRE(kill(getpid(), SIGTERM) == 0);
    REQUIRE(kill(getpid(), SIGUSR1) == 0);
    send_all(burst);
    usleep(300000);
    REQUIRE(handled == SIGNALS);
    REQUIRE(sigpending(&pending) == 0);
    REQUIRE(sigismember(&pending, SIGTERM) && sigismember(&pending, SIGUSR1));
    signal(SIGTERM, SIG_IGN);
    end_crew();
}

static void require_nobody(int id, void *data)
{
    char task[64];
    snprintf(task, sizeof task, "self/task/%d", id);
    REQUIRE(status_of(task, "Uid", 10) == NOBODY);
    REQUIRE(status_of(task, "Gid", 10) == NOBODY);
    ++*(int *)data;
}

static void require_all_nobody(void)
{
    int count = 0;
    each_thread(require_nobody, &count);
    /* This one, its crew, and the scavenger. */
    REQUIRE(count == 1 + CREW + 1);
}

static void become_nobody(int number)
{
    REQUIRE(setgroups(0, NULL) == 0);
    REQUIRE(setgid(NOBODY) == 0);
    REQUIRE(setuid(NOBODY) == 0);
}

/* setuid(2) of libc has every thread do it, by a signal, and waits for all. */
static void it_changes_its_user_with_the_others(int by_a_worker)
{
    if (geteuid() != 0) {
        printf("not root\n");
        exit(UNABLE);
    }
    crew_with_scavenger();
    if (by_a_worker)
        send(1, become_nobody);
    else
        become_nobody(0);
    require_all_nobody();
    REQUIRE(setuid(0) != 0);
    send_all(burst);
    require_all_nobody();
    end_crew();
}

static atomic_int go;

static void await_go(void)
{
    while (!go)
        usleep(1000);
}

/* Its task stays, as a zombie, until all are gone. */
static int main_has_ended(void)
{
    char name[64], text[512];
    snprintf(name, sizeof name, "self/task/%d/stat", getpid());
    if (!read_proc(name, text, sizeof text))
        return 1;
    const char *state = strrchr(text, ')') + 2;
    return *state == 'Z' || *state == 'X';
}

static void *last_worker(void *argument)
{
    const char *order = argument;
    await_go();
    if (strcmp(order, "racing") != 0)
        AWAIT(main_has_ended());
    burst_of(16, 30);
    if (strcmp(order, "running") == 0 || strcmp(order, "working") == 0)
        AWAIT(threads().scavengers == 0);
    burst_of(16, 31);
    if (strcmp(order, "absent") == 0)
        REQUIRE(threads().scavengers == 0);
    return NULL;
}

/* The process ends with its last thread, which must not be the scavenger.
 * running: it is there when main ends; absent: it would be started later;
 * racing: about then; working: it is in the middle of a turn. */
static void it_ends_with_the_main_thread(const char *order)
{
    pthread_t id;
    if (strcmp(order, "running") == 0 || strcmp(order, "working") == 0) {
        int scavenger = crew_with_scavenger();
        if (strcmp(order, "running") == 0)
            await_sleep(scavenger, 300);
        end_crew();
    }
    REQUIRE(pthread_create(&id, NULL, last_worker, (void *)order) == 0);
    REQUIRE(pthread_detach(id) == 0);
    if (strcmp(order, "racing") == 0)
        burst_of(4, 40);
    go = 1;
    pthread_exit(NULL);
}

/* Many threads find at once that there is none yet. */
static void there_is_one_only(void)
{
    start_crew();
    for (int round = 0; round < 20; round++) {
        send_all(burst);
        REQUIRE(threads().scavengers <= 1);
    }
    await_scavenger();
    REQUIRE(threads().count == 1 + CREW + 1);
    end_crew();
}

int main(int count, char **arguments)
{
    const char *what = count > 1 ? arguments[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(what, "name") == 0)
        it_has_a_name_and_blocks_all_signals_but_those_of_libc();
    else if (strcmp(what, "signals") == 0)
        it_never_handles_a_signal();
    else if (strcmp(what, "user") == 0)
        it_changes_its_user_with_the_others(0);
    else if (strcmp(what, "user-of-worker") == 0)
        it_changes_its_user_with_the_others(1);
    else if (strcmp(what, "main-ends") == 0 && count == 3)
        it_ends_with_the_main_thread(arguments[2]);
    else if (strcmp(what, "once") == 0)
        there_is_one_only();
    else
        return 2;
    printf("cache %s\n", cache_mode());
    return 0;
}
