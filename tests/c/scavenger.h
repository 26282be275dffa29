/* scavenger.h: the process as the kernel sees it: its memory, its threads, and
 * what the scavenger's thread does. Nothing here allocates, so that a process
 * can be looked at that never calls malloc again.
 */
#ifndef SCAVENGER_H
#define SCAVENGER_H

#include "stamp.h"
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* A descriptor of /proc, for who has no path to it any more. */
static int proc = -1;

UNUSED static int open_proc(const char *name, int flags)
{
    char path[96];
    snprintf(path, sizeof path, "%s%s", proc < 0 ? "/proc/" : "", name);
    return openat(proc < 0 ? AT_FDCWD : proc, path, flags);
}

/* All of a file in /proc; false where it is gone. */
UNUSED static int read_proc(const char *name, char *text, size_t room)
{
    int fd = open_proc(name, O_RDONLY);
    if (fd < 0)
        return 0;
    size_t length = 0;
    ssize_t part;
    while (length < room - 1 && (part = read(fd, text + length, room - 1 - length)) > 0)
        length += part;
    close(fd);
    text[length] = 0;
    return length > 0;
}

/* The number after `key` in a status file, in a base. */
UNUSED static unsigned long long status_of(const char *task, const char *key, int base)
{
    char name[64], text[8192], line[64];
    snprintf(name, sizeof name, "%s/status", task);
    if (!read_proc(name, text, sizeof text))
        fail("/proc/%s cannot be read (errno %d)", name, errno);
    snprintf(line, sizeof line, "\n%s:", key);
    const char *at = strstr(text, line);
    if (!at)
        fail("/proc/%s has no %s", name, key);
    return strtoull(at + strlen(line), NULL, base);
}

/* Bytes of anonymous memory that the process holds, by its page tables where the kernel
 * walks them: before Linux 6.16 status leaves out some pages of each CPU or thread. */
UNUSED static size_t rss_anon(void)
{
    char text[2048];
    const char *at = NULL;
    if (read_proc("self/smaps_rollup", text, sizeof text))
        at = strstr(text, "\nAnonymous:");
    if (at)
        return strtoull(at + strlen("\nAnonymous:"), NULL, 10) * KIB;
    return status_of("self", "RssAnon", 10) * KIB;
}

struct threads {
    int count;
    /* The scavenger's, or 0. */
    int scavenger;
    int scavengers;
};

/* Calls `visit` with each thread of the process, by its number. */
UNUSED static void each_thread(void (*visit)(int id, void *data), void *data)
{
    char entries[4096];
    int fd = open_proc("self/task", O_RDONLY | O_DIRECTORY);
    REQUIRE(fd >= 0);
    ssize_t bytes;
    while ((bytes = syscall(SYS_getdents64, fd, entries, sizeof entries)) > 0) {
        for (ssize_t at = 0; at < bytes;) {
            struct dirent64 *entry = (struct dirent64 *)(entries + at);
            at += entry->d_reclen;
            if (!isdigit((unsigned char)entry->d_name[0]))
                continue;
            visit(atoi(entry->d_name), data);
        }
    }
    close(fd);
}

static void count_thread(int id, void *data)
{
    struct threads *found = data;
    char name[64], comm[32];
    snprintf(name, sizeof name, "self/task/%d/comm", id);
    if (!read_proc(name, comm, sizeof comm))
        return;
    found->count++;
    if (strcmp(comm, "thmalloc-scav\n") == 0) {
        found->scavenger = id;
        found->scavengers++;
    }
}

UNUSED static struct threads threads(void)
{
    struct threads found = {0};
    each_thread(count_thread, &found);
    return found;
}

/* Times the thread went to sleep or was interrupted. */
UNUSED static unsigned long long switches_of(int id)
{
    char task[48];
    snprintf(task, sizeof task, "self/task/%d", id);
    return status_of(task, "voluntary_ctxt_switches", 10) +
           status_of(task, "nonvoluntary_ctxt_switches", 10);
}

/* Its time on a CPU, in nanoseconds, where the kernel counts them. */
UNUSED static unsigned long long time_of(int id)
{
    char name[64], text[128];
    snprintf(name, sizeof name, "self/task/%d/schedstat", id);
    return read_proc(name, text, sizeof text) ? strtoull(text, NULL, 10) : 0;
}

UNUSED static long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until something is so; a hang guard ends what never will be. */
#define AWAIT(condition)                                                       \
    do {                                                                       \
        long until = milliseconds() + laps(60000) + 60000;                     \
        while (!(condition)) {                                                 \
            if (milliseconds() > until)                                        \
                fail("%s:%d: never so: %s (RssAnon %zu KiB, %d threads)",      \
                     __FILE__, __LINE__, #condition, rss_anon() / KIB,         \
                     threads().count);                                         \
            usleep(5000);                                                      \
        }                                                                      \
    } while (0)

/* The scavenger's thread, as soon as there is one. */
UNUSED static int await_scavenger(void)
{
    AWAIT(threads().scavengers == 1);
    return threads().scavenger;
}

/* Waits until the scavenger's thread has slept for so long; its switches. In looks
 * of 10 ms each: while the machine stands still, there are none. */
UNUSED static unsigned long long await_sleep(int id, int for_milliseconds)
{
    unsigned long long last = switches_of(id);
    long until = milliseconds() + 120000;
    for (int slept = 0; slept < for_milliseconds; slept += 10) {
        usleep(10000);
        unsigned long long now = switches_of(id);
        if (now != last) {
            last = now;
            slept = 0;
        }
        if (milliseconds() > until)
            fail("the scavenger does not sleep: %llu switches", now);
    }
    return last;
}

/* Memory that no allocator knows, resident from the start. */
UNUSED static void *table(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    REQUIRE(at != MAP_FAILED);
    return at;
}

#endif
