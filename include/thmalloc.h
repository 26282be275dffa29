/* thmalloc.h: what libthmalloc.so offers beyond the malloc family.
 *
 * All functions may be called from any thread; none is async-signal-safe.
 */
#ifndef THMALLOC_H
#define THMALLOC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, as "MAJOR.MINOR.PATCH". A static string. */
const char *thmalloc_version(void);

/* How the CPU caches are entered in this process: "rseq" or "lock".
 * A static string. */
const char *thmalloc_cache_mode(void);

/* Gives all memory that is free back to the system now: what the caches of all
 * CPUs hold, free spans, and the pages of part-used spans that hold no object.
 * Returns how many bytes that were. From any thread; others go on meanwhile.
 * malloc_trim(3) does the same, and returns 1 if that was anything. */
size_t thmalloc_purge(void);

/* Where the heap's memory is, in bytes. Each page that the system has given
 * counts once: live + cached + fragmented + free + metadata = resident. */
struct thmalloc_stats {
    /* Objects that were handed out, rounded up to their size class, as far as
     * they are resident. */
    uint64_t live;
    /* Free objects in the caches of CPUs and in transfer caches. */
    uint64_t cached;
    /* Free objects in spans that hold live ones, and what spans leave unused at
     * their end. */
    uint64_t fragmented;
    /* Pages in no span that still have memory. */
    uint64_t free;
    /* The allocator's own books. */
    uint64_t metadata;
    /* Pages of the heap without memory: given back, or never touched. Address
     * space only. */
    uint64_t released;
    /* The part of `released` that lies in objects that were handed out. */
    uint64_t untouched;
    /* The sum of the first five. */
    uint64_t resident;
    /* Objects of size classes (up to 256 KiB, aligned to 64 KiB at the most) that were
     * handed out, their number and their bytes, touched or not; and the same of all
     * others. */
    uint64_t small_count;
    uint64_t small_bytes;
    uint64_t large_count;
    uint64_t large_bytes;
    /* Given back to the system since the process began, and the part of it that
     * was wanted again. */
    uint64_t ever_released;
    uint64_t ever_refaulted;
};

/* Fills in the first `bytes` bytes of `*stats`, for which callers pass
 * sizeof(struct thmalloc_stats). Later versions of the library add figures at the
 * end: what a library does not have yet is set to 0. Returns how many bytes the
 * library has figures for. From any thread; others go on meanwhile. It walks the
 * heap, a region at a time. */
size_t thmalloc_stats(struct thmalloc_stats *stats, size_t bytes);

/* Empties the CPU and transfer caches into their spans, then checks that the books of
 * the central lists and of the page heap agree, each under its own lock. Returns 0; names
 * what is wrong on stderr and aborts otherwise. From any thread; others go on meanwhile.
 * Slow: for tests. */
int thmalloc_check(void);

#ifdef __cplusplus
}
#endif

#endif
