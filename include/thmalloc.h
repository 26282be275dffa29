/* thmalloc.h: what libthmalloc.so offers beyond the malloc family.
 *
 * All functions may be called from any thread; none is async-signal-safe.
 */
#ifndef THMALLOC_H
#define THMALLOC_H

#include <stddef.h>

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

/* Walks every tier of the live heap under its locks and checks that the
 * books agree with each other. Returns 0; names what is wrong on stderr and
 * aborts otherwise. Stops the whole heap meanwhile: for tests. */
int thmalloc_check(void);

#ifdef __cplusplus
}
#endif

#endif
