/* What the conformance programs share: a check that says what failed, the
 * functions that an older C library does not declare, and the library's own
 * walk over its heap at the end.
 *
 * A program ends with `return finish();` and says nothing when all holds.
 */
#ifndef SURFACE_H
#define SURFACE_H

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
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define PAGE ((size_t)4096)

/* Keeps the compiler from knowing what a pointer or a size is. */
#define OPAQUE(value)                                                          \
    ({                                                                         \
        __typeof__(value) hidden_ = (value);                                   \
        __asm__ volatile("" : "+r"(hidden_) : : "memory");                     \
        hidden_;                                                               \
    })

#define CHECK(condition, ...)                                                  \
    do {                                                                       \
        if (!(condition))                                                      \
            failed(__FILE__, __LINE__, #condition, __VA_ARGS__);               \
    } while (0)

__attribute__((format(printf, 4, 5), noreturn, unused)) static void
failed(const char *file, int line, const char *condition, const char *what, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, what);
    fprintf(stderr, "%s:%d: %s does not hold: ", file, line, condition);
    vfprintf(stderr, what, arguments);
    fprintf(stderr, " (errno %d)\n", error);
    va_end(arguments);
    exit(1);
}

/* A function by its name at run time; NULL where nobody has it. */
__attribute__((unused)) static void *function(const char *name) {
    return dlsym(RTLD_DEFAULT, name);
}

/* The figure of a `Name:  123 kB` line in /proc/self/status, in bytes. */
__attribute__((unused)) static size_t status_bytes(const char *name) {
    char line[256];
    size_t kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            sscanf(line + strlen(name) + 1, "%zu", &kib);
    if (status)
        fclose(status);
    return kib * KIB;
}

/* Writes a word to each page of `[from, to)`: the page's number and `seed`. */
__attribute__((unused)) static void stamp_pages(size_t *object, size_t from, size_t to,
                                                size_t seed) {
    for (size_t i = from / PAGE; i < to / PAGE; i++)
        object[i * PAGE / sizeof *object] = seed + i;
}

/* Are the first `size` bytes as stamp_pages left them? */
__attribute__((unused)) static void check_pages(const size_t *object, size_t size, size_t seed,
                                                const char *when) {
    for (size_t i = 0; i < size / PAGE; i++)
        CHECK(object[i * PAGE / sizeof *object] == seed + i, "page %zu of %#zx %s", i, seed,
              when);
}

/* Page faults of this process so far that needed no disk. */
__attribute__((unused)) static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/* From here on each fault brings one small page, so that they can be counted. */
__attribute__((unused)) static void without_huge_pages(void) {
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

__attribute__((unused)) static int all_bytes_are(const void *memory, int value,
                                                 size_t size) {
    const unsigned char *bytes = memory;
    return size == 0 || (bytes[0] == (unsigned char)value &&
                         !memcmp(bytes, bytes + 1, size - 1));
}

/* Writes to an object: all of it, of a large one the first MiB and the end. */
__attribute__((unused)) static void soil(void *object, size_t size) {
    if (size) {
        memset(object, 0xee, size < MIB ? size : MIB);
        ((char *)object)[size - 1] = 1;
    }
}

__attribute__((unused)) static int finish(void) {
    int (*check)(void) = (int (*)(void))function("thmalloc_check");
    return check ? check() : 0;
}

#endif
