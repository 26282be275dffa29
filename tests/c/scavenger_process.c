/* Processes that have a scavenger and then fork, exec, become daemons, give
 * things up; and those that are not allowed to start its thread at all.
 *
 * usage: scavenger_process fork | fork-of-worker | daemon | exec | exec-of-worker
 *        | ran | close | root DIRECTORY | namespaces | refused | swings
 *        | nproc
 */
#include "scavenger_crew.h"
#include "robust_filter.h"
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { NOBODY = 65534, UNABLE = 77, HANG_SECONDS = 120 };

/* What a load leaves above its start: where the scavenger comes by; and where
 * only frees give back, which leave 4 MiB, and what a CPU's caches hold: 16 MiB
 * at the most. */
#define BOUND (4 * MIB)
#define BOUND_IN_LINE (24 * MIB)

static void unable(const char *why)
{
    printf("%s (errno %d)\n", why, errno);
    exit(UNABLE);
}

/* Runs `what` in a child; it ends with status 0. */
static void in_a_child(void (*what)(void))
{
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        alarm(HANG_SECONDS);
        what();
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        fail("a child hung: still there after %d seconds", HANG_SECONDS);
    if (WIFEXITED(status) && WEXITSTATUS(status) == UNABLE)
        exit(UNABLE);
    if (status != 0)
        fail("a child ended with %#x", status);
}

/* Threads of its own, a scavenger of its own. */
static void work_with_threads(void)
{
    REQUIRE(threads().count == 1);
    start_crew();
    send_all(burst);
    await_scavenger();
    REQUIRE(threads().count == 1 + CREW + 1);
    memory_comes_back(BOUND);
    end_crew();
    check_heap();
}

static void swing_alone(void)
{
    for (int i = 0; i < CREW; i++)
        fill(i);
    for (int i = 0; i < CREW; i++)
        empty(i);
}

/* One thread, and no other comes, however much it allocates. */
static void work_alone(void)
{
    begin();
    swing_alone();
    REQUIRE(threads().count == 1);
    size_t now = rss_anon();
    if (now > begun + BOUND_IN_LINE)
        fail("alone: RssAnon from %zu to %zu KiB", begun / KIB, now / KIB);
    check_heap();
    REQUIRE(threads().count == 1);
}

static void work_in_a_grandchild(void)
{
    work_with_threads();
    in_a_child(work_with_threads);
    in_a_child(work_alone);
}

static void fork_and_work(int number)
{
    in_a_child(work_alone);
    in_a_child(work_with_threads);
    in_a_child(work_in_a_grandchild);
}

static void a_child_gets_its_own(int of_a_worker)
{
    crew_with_scavenger();
    if (of_a_worker)
        send(2, fork_and_work);
    else
        fork_and_work(0);
    /* That of the parent goes on. */
    REQUIRE(threads().count == 1 + CREW + 1);
    memory_comes_back(BOUND);
    end_crew();
}

static void become_a_daemon(int pipe_end)
{
    REQUIRE(setsid() > 0);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child != 0)
        _exit(0);
    alarm(HANG_SECONDS);
    REQUIRE(chdir("/") == 0);
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    for (int fd = 0; fd < 3; fd++)
        REQUIRE(open("/dev/null", O_RDWR) == fd);
    work_alone();
    work_with_threads();
    REQUIRE(write(pipe_end, "done", 4) == 4);
    _exit(0);
}

static void a_daemon_gets_its_own(void)
{
    int ends[2], status;
    char said[8];
    REQUIRE(pipe(ends) == 0);
    crew_with_scavenger();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        become_a_daemon(ends[1]);
    close(ends[1]);
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    REQUIRE(read(ends[0], said, sizeof said) == 4);
    end_crew();
}

static void exec_self(int number)
{
    execl("/proc/self/exe", "scavenger_process", "ran", NULL);
    fail("exec: errno %d", errno);
}

static void another_program_starts_anew(int of_a_worker)
{
    crew_with_scavenger();
    if (of_a_worker)
        send(2, exec_self);
    else
        exec_self(0);
}

/* After this, its status tells. */
static void all_descriptors_are_closed(void)
{
    crew_with_scavenger();
    REQUIRE(close_range(0, ~0u, 0) == 0);
    memory_comes_back(BOUND);
    send_all(burst);
    REQUIRE(open("/dev/null", O_RDWR) == 0);
    REQUIRE(open("/dev/null", O_RDWR) == 1);
    in_a_child(work_with_threads);
    end_crew();
}

static void the_root_is_empty(const char *directory)
{
    start_crew();
    proc = open("/proc", O_RDONLY | O_DIRECTORY);
    REQUIRE(proc >= 0 && chdir(directory) == 0);
    if (chroot(".") != 0)
        unable("chroot");
    REQUIRE(access("/proc", F_OK) != 0);
    send_all(burst);
    await_scavenger();
    memory_comes_back(BOUND);
    in_a_child(work_alone);
    in_a_child(work_with_threads);
    end_crew();
}

/* These calls are refused to a process of more than one thread. */
static void unshare_alone(void)
{
    work_alone();
    if (unshare(CLONE_NEWUSER) != 0) {
        REQUIRE(errno != EINVAL);
        unable("unshare(CLONE_NEWUSER)");
    }
    work_alone();
    REQUIRE(unshare(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD) == 0);
}

static void a_child_is_alone_for_those_who_insist(void)
{
    crew_with_scavenger();
    in_a_child(unshare_alone);
    end_crew();
}

static void refuse_clone(int number)
{
    REQUIRE(refuse(SYS_clone3, EPERM) == 0);
    REQUIRE(refuse(SYS_clone, EPERM) == 0);
}

static void work_without_it(void)
{
    memory_comes_back(BOUND_IN_LINE);
    REQUIRE(threads().count == 1 + CREW);
    check_heap();
}

static void clone_is_refused(void)
{
    start_crew();
    for (int i = 0; i < CREW; i++)
        send(i, refuse_clone);
    refuse_clone(0);
    work_without_it();
    end_crew();
}

/* A start that failed is tried again. */
static void no_more_threads_are_allowed_for_a_while(void)
{
    struct rlimit limit;
    REQUIRE(getrlimit(RLIMIT_NPROC, &limit) == 0);
    if (limit.rlim_max < 1000)
        unable("RLIMIT_NPROC");
    /* Root may always. */
    if (geteuid() == 0)
        REQUIRE(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
    start_crew();
    struct rlimit one = {1, limit.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NPROC, &one) == 0);
    work_without_it();
    REQUIRE(setrlimit(RLIMIT_NPROC, &limit) == 0);
    long until = milliseconds() + HANG_SECONDS * 1000;
    while (threads().scavenger == 0 && milliseconds() < until)
        send_all(burst);
    await_scavenger();
    memory_comes_back(BOUND);
    end_crew();
}

/* Not fork, as libc has it. */
static void refuse_threads(int number)
{
    REQUIRE(refuse(SYS_clone3, EPERM) == 0);
}

/* A child's load is its own: what the parent's swings want again does not stay there. */
static void a_child_of_one_that_swings_is_alone(void)
{
    begin();
    for (int i = 0; i < 6; i++)
        swing_alone();
    in_a_child(work_alone);
    start_crew();
    for (int i = 0; i < CREW; i++)
        send(i, refuse_threads);
    refuse_threads(0);
    for (int i = 0; i < 6; i++)
        send_all(burst);
    in_a_child(work_alone);
    end_crew();
}

int main(int count, char **arguments)
{
    const char *what = count > 1 ? arguments[1] : "";
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(what, "fork") == 0)
        a_child_gets_its_own(0);
    else if (strcmp(what, "fork-of-worker") == 0)
        a_child_gets_its_own(1);
    else if (strcmp(what, "daemon") == 0)
        a_daemon_gets_its_own();
    else if (strcmp(what, "exec") == 0)
        another_program_starts_anew(0);
    else if (strcmp(what, "exec-of-worker") == 0)
        another_program_starts_anew(1);
    else if (strcmp(what, "ran") == 0)
        work_with_threads();
    else if (strcmp(what, "close") == 0)
        all_descriptors_are_closed();
    else if (strcmp(what, "root") == 0 && count == 3)
        the_root_is_empty(arguments[2]);
    else if (strcmp(what, "namespaces") == 0)
        a_child_is_alone_for_those_who_insist();
    else if (strcmp(what, "refused") == 0)
        clone_is_refused();
    else if (strcmp(what, "swings") == 0)
        a_child_of_one_that_swings_is_alone();
    else if (strcmp(what, "nproc") == 0)
        no_more_threads_are_allowed_for_a_while();
    else
        return 2;
    printf("cache %s\n", cache_mode());
    return 0;
}
