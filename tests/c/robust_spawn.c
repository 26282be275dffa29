/* Every other way to a new process, from a process of one thread and then from
 * one of many that allocate meanwhile.
 */
#include "stamp.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;
enum { WORKERS = 4 };
static atomic_int stop;
static char *const true_arguments[] = {"true", NULL};

static void use_heap(uint32_t owner)
{
    struct stamped objects[200];
    for (uint32_t i = 0; i < 200; i++) {
        size_t size = i % 50 == 0 ? 300000 + i : 1 + i * i % 9000;
        objects[i] = stamp(malloc(size), size, owner, i);
    }
    for (int i = 0; i < 200; i++)
        stamp_free(&objects[i]);
}

static void *worker(void *argument)
{
    while (!stop)
        use_heap((uintptr_t)argument);
    return NULL;
}

static void await(pid_t child, int flags, const char *how)
{
    int status;
    if (child < 0)
        fail("%s: errno %d", how, errno);
    pid_t got;
    do
        got = waitpid(child, &status, flags);
    while (got < 0 && errno == EINTR);
    REQUIRE(got == child);
    if (status != 0)
        fail("%s: the child's status is %#x", how, status);
}

static void by_vfork(void)
{
    pid_t child = vfork();
    if (child == 0) {
        execv("/bin/true", true_arguments);
        _exit(127);
    }
    await(child, 0, "vfork and exec");
    child = vfork();
    if (child == 0)
        _exit(0);
    await(child, 0, "vfork and _exit");
}

static void by_posix_spawn(void)
{
    pid_t child;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    REQUIRE(posix_spawn_file_actions_init(&actions) == 0);
    REQUIRE(posix_spawnattr_init(&attributes) == 0);
    for (int i = 0; i < 12; i++)
        REQUIRE(posix_spawn_file_actions_addopen(&actions, 20 + i, "/dev/null", O_RDWR, 0) == 0);
    REQUIRE(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK) == 0);
    REQUIRE(posix_spawn(&child, "/bin/true", &actions, &attributes, true_arguments,
                        environ) == 0);
    await(child, 0, "posix_spawn");
    REQUIRE(posix_spawnp(&child, "true", NULL, NULL, true_arguments, environ) == 0);
    await(child, 0, "posix_spawnp");
    REQUIRE(posix_spawn_file_actions_destroy(&actions) == 0);
    REQUIRE(posix_spawnattr_destroy(&attributes) == 0);
}

static int exec_true(void *argument)
{
    execv("/bin/true", true_arguments);
    return 127;
}

static void by_clone_vm(void)
{
    enum { STACK = 64 << 10 };
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    REQUIRE(stack != MAP_FAILED);
    pid_t child = clone(exec_true, stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
    await(child, 0, "clone with CLONE_VM and CLONE_VFORK");
    REQUIRE(munmap(stack, STACK) == 0);
}

/* As fork, but unknown to the C library: no atfork handler runs. A process of
 * one thread may go on as after fork; of many threads, only to exec. */
static void by_raw_clone(int may_allocate)
{
    pid_t child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        if (!may_allocate)
            _exit(exec_true(NULL));
        alarm(60);
        use_heap(300);
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, worker, (void *)301) == 0);
        use_heap(302);
        stop = 1;
        REQUIRE(pthread_join(thread, NULL) == 0);
        check_heap();
        _exit(0);
    }
    await(child, __WALL, "clone by its system call");
}

static void by_shell(void)
{
    REQUIRE(system("exit 0") == 0);
    FILE *pipe = popen("echo word", "r");
    char line[16];
    REQUIRE(pipe && fgets(line, sizeof line, pipe) && strcmp(line, "word\n") == 0);
    REQUIRE(pclose(pipe) == 0);
}

/* fork, setsid, fork again, the middle one exits; the last one reports. */
static void by_double_fork(void)
{
    int ends[2];
    char report = 0;
    REQUIRE(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        REQUIRE(setsid() > 0);
        use_heap(310);
        pid_t last = fork();
        REQUIRE(last >= 0);
        if (last > 0)
            _exit(0);
        alarm(60);
        use_heap(311);
        check_heap();
        REQUIRE(write(ends[1], "y", 1) == 1);
        _exit(0);
    }
    close(ends[1]);
    await(child, 0, "the middle of a double fork");
    REQUIRE(read(ends[0], &report, 1) == 1 && report == 'y');
    close(ends[0]);
}

int main(void)
{
    long rounds = laps(12);
    struct stamped kept[100];
    for (uint32_t i = 0; i < 100; i++)
        kept[i] = stamp(malloc(1 + i * 100), 1 + i * 100, 1, i);
    for (int threads = 0; threads < 2; threads++) {
        pthread_t workers[WORKERS];
        for (uintptr_t i = 0; threads && i < WORKERS; i++)
            REQUIRE(pthread_create(&workers[i], NULL, worker, (void *)(i + 10)) == 0);
        for (long i = 0; i < rounds; i++) {
            by_vfork();
            by_posix_spawn();
            by_clone_vm();
            by_raw_clone(!threads);
            by_shell();
            by_double_fork();
            use_heap(2);
        }
        stop = 1;
        for (int i = 0; threads && i < WORKERS; i++)
            REQUIRE(pthread_join(workers[i], NULL) == 0);
        stop = 0;
        check_heap();
    }
    for (int i = 0; i < 100; i++)
        stamp_free(&kept[i]);
    check_heap();
    printf("cache %s\n", cache_mode());
    return 0;
}
