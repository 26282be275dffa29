/* fork from a process of many threads that all allocate. The child frees what
 * it inherited, allocates, starts threads, forks again, walks the heap; a child
 * that hangs is ended by its alarm and fails the run.
 *
 * usage: robust_fork FORKS
 */
#include "stamp.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

enum { WORKERS = 8, FORKERS = 2, SLOTS = 64, SHARED = 512, HANG_SECONDS = 60 };

/* Objects on their way from the workers to the forkers and their children. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stamped shared[SHARED];
static unsigned shared_count;

static atomic_int stop;
static atomic_long forks_left, forks_done;

static size_t any_size(uint64_t *random)
{
    uint64_t r = draw(random);
    return r % 64 == 0  ? 1 + (r >> 16) % (600 << 10)
           : r % 8 == 0 ? 1 + (r >> 16) % 20000
                        : 1 + (r >> 16) % 700;
}

static void churn(struct stamped *slots, uint64_t *random, uint32_t owner, long turns)
{
    for (uint32_t i = 0; turns-- > 0; i++) {
        struct stamped *slot = &slots[draw(random) % SLOTS];
        size_t size = any_size(random);
        if (slot->at && draw(random) % 4 == 0) {
            stamp_check(slot);
            void *moved = realloc(slot->at, size);
            REQUIRE(moved);
            stamp_check_moved(slot, moved, size < slot->size ? size : slot->size);
            *slot = stamp(moved, size, owner, i);
            continue;
        }
        if (slot->at)
            stamp_free(slot);
        *slot = stamp(malloc(size), size, owner, i);
    }
}

static void free_all(struct stamped *slots, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (slots[i].at)
            stamp_free(&slots[i]);
}

static void *worker(void *argument)
{
    uint32_t owner = (uintptr_t)argument;
    uint64_t random = owner * 77 ^ getpid();
    struct stamped slots[SLOTS] = {0};
    /* The children, and who waits for them, come first. */
    setpriority(PRIO_PROCESS, 0, 15);
    while (!stop) {
        churn(slots, &random, owner, 200);
        struct stamped object = slots[0];
        if (!object.at)
            continue;
        slots[0].at = NULL;
        pthread_mutex_lock(&lock);
        if (shared_count < SHARED) {
            shared[shared_count++] = object;
            object.at = NULL;
        }
        pthread_mutex_unlock(&lock);
        if (object.at)
            stamp_free(&object);
    }
    free_all(slots, SLOTS);
    return NULL;
}

static void *thread_of_child(void *argument)
{
    uint64_t random = (uintptr_t)argument;
    struct stamped slots[SLOTS] = {0};
    churn(slots, &random, 500, 100);
    free_all(slots, SLOTS);
    return NULL;
}

static void await(pid_t child, const char *who)
{
    int status;
    pid_t got;
    do
        got = waitpid(child, &status, 0);
    while (got < 0 && errno == EINTR);
    REQUIRE(got == child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        fail("%s hung: still there after %d seconds", who, HANG_SECONDS);
    if (WIFSIGNALED(status))
        fail("%s died of signal %d", who, WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        fail("%s ended with status %d", who, WEXITSTATUS(status));
}

/* All that a child does; `kind` decides which of it. */
static void in_child(uint64_t kind, struct stamped *inherited, unsigned count, int depth)
{
    alarm(HANG_SECONDS);
    uint64_t random = kind ^ 0x55;
    struct stamped slots[SLOTS] = {0};
    if (kind % 2)
        free_all(inherited, count);
    churn(slots, &random, 400 + depth, 50 + kind % 200);
    if (kind % 4 == 1) {
        pthread_t threads[2];
        for (uintptr_t i = 0; i < 2; i++)
            REQUIRE(pthread_create(&threads[i], NULL, thread_of_child, (void *)i) == 0);
        /* Forks while its own threads allocate. */
        if (depth == 0 && kind % 8 == 1) {
            pid_t pid = fork();
            REQUIRE(pid >= 0);
            if (pid == 0) {
                in_child(kind / 16, slots, SLOTS, depth + 1);
                _exit(0);
            }
            await(pid, "a child's child");
        }
        for (int i = 0; i < 2; i++)
            REQUIRE(pthread_join(threads[i], NULL) == 0);
    }
    if (depth < 3 && kind % 8 == 2) {
        pid_t pid = fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            in_child(kind / 8, slots, SLOTS, depth + 1);
            _exit(0);
        }
        await(pid, "a child's child");
    }
    if (kind % 16 == 3)
        malloc_trim(0);
    if (kind % 8 == 3)
        check_heap();
    free_all(slots, SLOTS);
    if (kind % 32 == 7)
        check_heap();
    if (kind % 64 == 5)
        exit(0);
}

static void *forker(void *argument)
{
    uint64_t random = (uintptr_t)argument ^ getpid();
    static struct stamped inherited[FORKERS][SHARED];
    struct stamped *mine = inherited[(uintptr_t)argument];
    while (atomic_fetch_sub(&forks_left, 1) > 0) {
        pthread_mutex_lock(&lock);
        unsigned count = shared_count;
        memcpy(mine, shared, count * sizeof *mine);
        shared_count = 0;
        pthread_mutex_unlock(&lock);
        uint64_t kind = draw(&random) >> 8;
        pid_t pid = fork();
        if (pid < 0)
            fail("fork: errno %d", errno);
        if (pid == 0) {
            in_child(kind, mine, count, 0);
            _exit(0);
        }
        /* Parent and child free the same objects, each its own copy. */
        free_all(mine, count);
        await(pid, "a child");
        atomic_fetch_add(&forks_done, 1);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    REQUIRE(count == 2);
    long forks = laps(atol(arguments[1]));
    forks_left = forks;
    pthread_t workers[WORKERS], forkers[FORKERS];
    for (uintptr_t i = 0; i < WORKERS; i++)
        REQUIRE(pthread_create(&workers[i], NULL, worker, (void *)(i + 1)) == 0);
    for (uintptr_t i = 0; i < FORKERS; i++)
        REQUIRE(pthread_create(&forkers[i], NULL, forker, (void *)i) == 0);
    for (int i = 0; i < FORKERS; i++)
        REQUIRE(pthread_join(forkers[i], NULL) == 0);
    stop = 1;
    for (int i = 0; i < WORKERS; i++)
        REQUIRE(pthread_join(workers[i], NULL) == 0);
    free_all(shared, shared_count);
    REQUIRE(forks_done == forks);
    check_heap();
    printf("%ld forks, cache %s\n", forks, cache_mode());
    return 0;
}
