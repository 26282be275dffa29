/* stamp.h: objects that know whom they belong to.
 *
 * stamp() writes a pattern through an object that follows from its address,
 * size, owner and a sequence number; stamp_check() reads it back. An object
 * that two owners hold at once, or a write that was lost, is named and the
 * program aborts. What is known of an object stands in a struct stamped
 * outside it, so that objects of one byte can be stamped too.
 *
 * Also here: a small random generator, a lap counter scaled by THMALLOC_STRESS,
 * and the way to thmalloc_check(), so that each program runs on any malloc.
 */
#ifndef STAMP_H
#define STAMP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

struct stamped {
    unsigned char *at;
    size_t size;
    uint32_t owner;
    uint32_t sequence;
};

/* One line on stderr without stdio's buffers, then abort. */
UNUSED __attribute__((noreturn, format(printf, 1, 2))) static void
fail(const char *format, ...)
{
    char line[512];
    va_list rest;
    va_start(rest, format);
    int n = vsnprintf(line, sizeof line - 1, format, rest);
    va_end(rest);
    if (n > (int)sizeof line - 2)
        n = sizeof line - 2;
    line[n] = '\n';
    write(2, line, n + 1);
    abort();
}

/* As assert(), but also without NDEBUG, and with errno. */
#define REQUIRE(condition)                                                     \
    do {                                                                       \
        if (!(condition))                                                      \
            fail("%s:%d: not so: %s (errno %d)", __FILE__, __LINE__,           \
                 #condition, errno);                                           \
    } while (0)

static inline uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The next number of a sequence that starts anywhere. */
UNUSED static uint64_t draw(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return mixed(*state);
}

/* `laps`, times the factor in THMALLOC_STRESS (1 where it is not set). */
UNUSED static long laps(long laps)
{
    const char *factor = getenv("THMALLOC_STRESS");
    double times = factor ? atof(factor) : 1.0;
    long scaled = (long)(laps * (times > 0 ? times : 1.0));
    return scaled > 0 ? scaled : 1;
}

/* Words of the pattern lie this far apart: everywhere in small objects, one a
 * cache line in middling ones, about one a page in large ones. */
static inline size_t stamp_stride(size_t size)
{
    return size <= 1024 ? 8 : size <= 32768 ? 64 : 4088;
}

static inline uint64_t stamp_seed(const struct stamped *s)
{
    return mixed((uint64_t)(uintptr_t)s->at ^ mixed(s->size) ^
                 ((uint64_t)s->owner << 32 | s->sequence));
}

/* Objects of at least 32 bytes begin with a copy of their struct stamped. */
UNUSED static void stamp_describe(char *out, size_t room, const struct stamped *s)
{
    struct stamped head;
    if (s->size < 32) {
        snprintf(out, room, "it is too small to name its owner");
        return;
    }
    memcpy(&head, s->at, sizeof head);
    snprintf(out, room, "its head names owner %u, sequence %u, %zu bytes at %p",
             head.owner, head.sequence, head.size, (void *)head.at);
}

UNUSED __attribute__((noreturn)) static void
stamp_broken(const struct stamped *s, size_t offset, uint64_t want, uint64_t is)
{
    char head[160];
    stamp_describe(head, sizeof head, s);
    fail("stamp: object %p of %zu bytes (owner %u, sequence %u) has %#llx at "
         "offset %zu, should have %#llx; %s",
         (void *)s->at, s->size, s->owner, s->sequence, (unsigned long long)is,
         offset, (unsigned long long)want, head);
}

/* Writes (write != 0) or checks the pattern in the first `size` bytes that the
 * stamp `s` describes; `size` is smaller than `s->size` after a shrinking
 * realloc only. */
static inline void stamp_walk(const struct stamped *s, unsigned char *at,
                              size_t size, int write)
{
    uint64_t seed = stamp_seed(s), word, is = 0;
    size_t offset = 0, stride = stamp_stride(s->size), rest = s->size % 8;
    /* The tail, to the last byte, whatever the stride. */
    size_t tail = s->size < 8 ? s->size : rest ? rest : stride > 8 ? 8 : 0;
    size_t end = size < s->size - tail ? size : s->size - tail;
    if (s->size >= 32) {
        struct stamped head = *s;
        size_t part = size < sizeof head ? size : sizeof head;
        if (write) {
            memcpy(at, &head, part);
        } else if (memcmp(at, &head, part) != 0) {
            struct stamped now = *s;
            size_t byte = 0;
            while (at[byte] == ((unsigned char *)&head)[byte])
                byte++;
            now.at = at;
            stamp_broken(&now, byte, ((unsigned char *)&head)[byte], at[byte]);
        }
        offset = sizeof head;
    }
    for (; offset + 8 <= end; offset += stride) {
        word = mixed(seed + offset);
        if (write) {
            memcpy(at + offset, &word, 8);
        } else {
            memcpy(&is, at + offset, 8);
            if (is != word)
                stamp_broken(s, offset, word, is);
        }
    }
    if (size == s->size) {
        word = mixed(~seed);
        if (write) {
            memcpy(at + size - tail, &word, tail);
        } else if (memcmp(at + size - tail, &word, tail) != 0) {
            is = 0;
            memcpy(&is, at + size - tail, tail);
            stamp_broken(s, size - tail, word, is);
        }
    }
}

/* Takes an object of the malloc family as `owner`'s and stamps it. */
UNUSED static struct stamped stamp(void *object, size_t size, uint32_t owner,
                                   uint32_t sequence)
{
    struct stamped s = {object, size, owner, sequence};
    uintptr_t bits = (uintptr_t)object;
    if (!object)
        fail("no object of %zu bytes (owner %u, errno %d)", size, owner, errno);
    if (bits % (size >= 16 ? 16 : size >= 8 ? 8 : 1))
        fail("object %p of %zu bytes is misaligned", object, size);
    stamp_walk(&s, s.at, size, 1);
    return s;
}

UNUSED static void stamp_check(const struct stamped *s)
{
    stamp_walk(s, s->at, s->size, 0);
}

/* The object has moved to `at` and kept its first `size` bytes. */
UNUSED static void stamp_check_moved(const struct stamped *s, void *at, size_t size)
{
    stamp_walk(s, at, size, 0);
}

/* Checks and frees; free must leave errno alone. */
UNUSED static void stamp_free(struct stamped *s)
{
    stamp_check(s);
    if (s->size >= 24)
        memset(s->at, 0xdd, 24);
    int before = errno;
    errno = 4711;
    free(s->at);
    if (errno != 4711)
        fail("free of %p changed errno to %d", (void *)s->at, errno);
    errno = before;
    s->at = NULL;
}

/* Calls thmalloc_check() where there is one. The caller sees to it that no
 * other thread allocates meanwhile. */
UNUSED static void check_heap(void)
{
    static int (*check)(void);
    if (!check)
        check = (int (*)(void))dlsym(RTLD_DEFAULT, "thmalloc_check");
    if (check && check() != 0)
        fail("thmalloc_check did not return 0");
}

/* "rseq", "lock", or "none" on another malloc. */
UNUSED static const char *cache_mode(void)
{
    const char *(*mode)(void) =
        (const char *(*)(void))dlsym(RTLD_DEFAULT, "thmalloc_cache_mode");
    return mode ? mode() : "none";
}

#endif
