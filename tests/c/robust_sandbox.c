/* A process that gives things up and goes on allocating: its descriptors, its
 * user, its root, its namespaces, its right to some system calls.
 *
 * usage: robust_sandbox work | close | close-range | user | user-threads
 *                       | root DIRECTORY | namespaces | refuse CALL:ERRNO...
 */
#include "stamp.h"

#include "robust_filter.h"
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { THREADS = 6, SLOTS = 100, EXCHANGE = 64, UNABLE = 77, NOBODY = 65534 };

static struct stamped *_Atomic exchange[EXCHANGE];
static atomic_int stop;

static void drop(struct stamped *note)
{
    stamp_free(note);
    free(note);
}

/* Allocates, frees, and frees what other threads allocated. */
static void turns(uint32_t owner, long count)
{
    static atomic_uint sequence;
    uint64_t random = owner + atomic_fetch_add(&sequence, 1000);
    struct stamped *slots[SLOTS] = {0};
    for (long i = 0; i < count; i++) {
        uint64_t r = draw(&random);
        struct stamped **slot = &slots[r % SLOTS];
        if (*slot && r >> 60 < 5) {
            *slot = atomic_exchange(&exchange[(r >> 20) % EXCHANGE], *slot);
        } else if (*slot) {
            drop(*slot);
            *slot = NULL;
        } else {
            size_t size = r >> 56 == 0 ? 1 + (r >> 16) % (600 << 10) : 1 + (r >> 16) % 3000;
            *slot = malloc(sizeof **slot);
            REQUIRE(*slot);
            **slot = stamp(malloc(size), size, owner, i);
        }
    }
    for (int i = 0; i < SLOTS; i++)
        if (slots[i])
            drop(slots[i]);
}

static void *some_turns(void *argument)
{
    turns((uintptr_t)argument, 20000);
    return NULL;
}

static void *turns_until_stop(void *argument)
{
    while (!stop)
        turns((uintptr_t)argument, 1000);
    return NULL;
}

static void start(pthread_t *threads, void *(*run)(void *), uintptr_t owner)
{
    for (uintptr_t i = 0; i < THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, run, (void *)(owner + i)) == 0);
}

static void join(pthread_t *threads)
{
    for (int i = 0; i < THREADS; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
}

static void finish(void)
{
    for (int i = 0; i < EXCHANGE; i++)
        if (exchange[i]) {
            drop(exchange[i]);
            exchange[i] = NULL;
        }
    check_heap();
}

/* What any program does: one thread, then many, then one that cleans up. */
static void work(void)
{
    pthread_t threads[THREADS];
    turns(1, 5000);
    start(threads, some_turns, 10);
    turns(1, 5000);
    join(threads);
    malloc_trim(0);
    turns(2, 5000);
    finish();
}

static void close_each(void)
{
    for (int fd = 0; fd <= 1024; fd++)
        close(fd);
}

static void close_by_range(void)
{
    REQUIRE(close_range(0, ~0u, 0) == 0);
}

/* Nothing of the library stands in the way of descriptors: after all were
 * closed the lowest are free, and stay the program's. No one hears what the
 * program says from here on; its status tells. */
static void without_descriptors(void (*close_all)(void))
{
    turns(1, 1000);
    close_all();
    work();
    for (int fd = 0; fd < 3; fd++)
        REQUIRE(open("/dev/null", O_RDWR) == fd);
    close_all();
    work();
    REQUIRE(open("/dev/null", O_RDWR) == 0);
}

static void require_user(void)
{
    char path[64], line[128];
    int tasks = 0;
    /* Every thread of the process, also one that is not the program's. */
    for (int id = getpid(); id < getpid() + 400; id++) {
        unsigned real = 0, effective = 0;
        snprintf(path, sizeof path, "/proc/self/task/%d/status", id);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        while (fgets(line, sizeof line, file))
            if (sscanf(line, "Uid: %u %u", &real, &effective) == 2)
                REQUIRE(real == NOBODY && effective == NOBODY);
        fclose(file);
        tasks++;
    }
    REQUIRE(tasks > 0);
}

static void change_user(int with_threads)
{
    pthread_t threads[THREADS];
    if (geteuid() != 0) {
        printf("not root\n");
        exit(UNABLE);
    }
    work();
    if (with_threads)
        start(threads, turns_until_stop, 20);
    REQUIRE(setgroups(0, NULL) == 0);
    REQUIRE(setgid(NOBODY) == 0);
    REQUIRE(setuid(NOBODY) == 0);
    require_user();
    REQUIRE(setuid(0) != 0);
    if (with_threads) {
        stop = 1;
        join(threads);
    }
    work();
}

static void change_root(const char *directory)
{
    turns(1, 1000);
    if (geteuid() != 0 && unshare(CLONE_NEWUSER) != 0) {
        printf("neither root nor a user namespace\n");
        exit(UNABLE);
    }
    /* It is empty: no /proc, no /dev, no /sys. */
    REQUIRE(chdir(directory) == 0);
    REQUIRE(chroot(".") == 0);
    REQUIRE(access("/proc", F_OK) != 0);
    work();
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        work();
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
}

/* These calls are refused to a process of more than one thread: what the
 * library does for itself must not count. */
static void change_namespaces(void)
{
    turns(1, 20000);
    void *large = malloc(64 << 20);
    REQUIRE(large);
    memset(large, 1, 64 << 20);
    free(large);
    malloc_trim(0);
    if (unshare(CLONE_NEWUSER) != 0) {
        if (errno == EINVAL)
            fail("unshare(CLONE_NEWUSER): the process has more than one thread");
        printf("unshare(CLONE_NEWUSER): errno %d\n", errno);
        exit(UNABLE);
    }
    turns(1, 1000);
    REQUIRE(unshare(CLONE_VM) == 0);
    REQUIRE(unshare(CLONE_NEWPID | CLONE_NEWNS) == 0 || errno == EPERM);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        work();
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    turns(1, 1000);
    finish();
}

/* Takes this thread's restartable sequence area from the kernel, and notes in
 * it what glibc notes where registration failed: threads that this one starts
 * are then not registered. (glibc itself ends a process in which threads could
 * be registered at first and cannot any more.) */
static void leave_rseq(void)
{
    const ptrdiff_t *offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
    const unsigned *size = dlsym(RTLD_DEFAULT, "__rseq_size");
    if (!offset || !size || *size == 0)
        return;
    char *area = (char *)__builtin_thread_pointer() + *offset;
    long left = -1;
    for (unsigned length = 32; left != 0 && length <= 1024; length += 4)
        left = syscall(SYS_rseq, area, length, 1 /* RSEQ_FLAG_UNREGISTER */, 0x53053053);
    REQUIRE(left == 0);
    *(volatile int32_t *)(area + 4) = -2 /* RSEQ_CPU_ID_REGISTRATION_FAILED */;
}

static void refuse_named(const char *what)
{
    const char *colon = strchr(what, ':');
    REQUIRE(colon);
    size_t length = colon - what;
    int error = strcmp(colon, ":EPERM") == 0 ? EPERM : ENOSYS;
    int number = strncmp(what, "rseq", length) == 0         ? SYS_rseq
                 : strncmp(what, "membarrier", length) == 0 ? SYS_membarrier
                 : strncmp(what, "madvise", length) == 0    ? SYS_madvise
                                                            : -1;
    REQUIRE(number >= 0);
    if (number == SYS_rseq)
        leave_rseq();
    REQUIRE(refuse(number, error) == 0);
}

struct refusal {
    int count;
    char **what;
};

/* What comes under the refusal: a new thread, and those that it starts. */
static void *refused_turns(void *data)
{
    const struct refusal *refusal = data;
    pthread_t after[THREADS];
    turns(1, 1000);
    for (int i = 0; i < refusal->count; i++)
        refuse_named(refusal->what[i]);
    for (int round = 0; round < laps(5); round++) {
        start(after, some_turns, 40);
        turns(1, 5000);
        malloc_trim(0);
        join(after);
    }
    return NULL;
}

/* Threads from before and from after the refusal work on the same objects. */
static void refuse_late(int count, char **what)
{
    pthread_t before[THREADS], refused;
    struct refusal refusal = {count, what};
    start(before, turns_until_stop, 30);
    turns(1, 5000);
    REQUIRE(pthread_create(&refused, NULL, refused_turns, &refusal) == 0);
    REQUIRE(pthread_join(refused, NULL) == 0);
    stop = 1;
    join(before);
    work();
}

int main(int count, char **arguments)
{
    const char *what = count > 1 ? arguments[1] : "";
    if (strcmp(what, "work") == 0)
        work();
    else if (strcmp(what, "close") == 0)
        without_descriptors(close_each);
    else if (strcmp(what, "close-range") == 0)
        without_descriptors(close_by_range);
    else if (strcmp(what, "user") == 0)
        change_user(0);
    else if (strcmp(what, "user-threads") == 0)
        change_user(1);
    else if (strcmp(what, "root") == 0 && count == 3)
        change_root(arguments[2]);
    else if (strcmp(what, "namespaces") == 0)
        change_namespaces();
    else if (strcmp(what, "refuse") == 0)
        refuse_late(count - 2, arguments + 2);
    else
        return 2;
    printf("cache %s\n", cache_mode());
    return 0;
}
