/* Starts a program under limits and with system calls refused, so that both
 * hold before its first instruction. Linked statically: the allocator under
 * test is preloaded into the program only.
 *
 * usage: robust_launch [as=MIB] [data=MIB] [refuse=CALL:ERRNO]... -- PROGRAM [ARG...]
 */
#include "robust_filter.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const struct {
    const char *name;
    int number;
} calls[] = {
    {"rseq", SYS_rseq},
    {"membarrier", SYS_membarrier},
    {"madvise", SYS_madvise},
    {"mremap", SYS_mremap},
    {"sched_getaffinity", SYS_sched_getaffinity},
    {"prctl", SYS_prctl},
    {"getrandom", SYS_getrandom},
    {"prlimit64", SYS_prlimit64},
};

static int limit(int which, const char *mebibytes)
{
    rlim_t bytes = strtoul(mebibytes, NULL, 10) << 20;
    struct rlimit both = {bytes, bytes};
    return setrlimit(which, &both);
}

static int refuse_named(const char *what)
{
    const char *colon = strchr(what, ':');
    int error = !colon                          ? 0
                : strcmp(colon, ":EPERM") == 0  ? EPERM
                : strcmp(colon, ":ENOSYS") == 0 ? ENOSYS
                : strcmp(colon, ":ENOMEM") == 0 ? ENOMEM
                                                : 0;
    for (size_t i = 0; error && i < sizeof calls / sizeof *calls; i++)
        if (strlen(calls[i].name) == (size_t)(colon - what) &&
            strncmp(calls[i].name, what, colon - what) == 0)
            return refuse(calls[i].number, error);
    errno = EINVAL;
    return -1;
}

int main(int count, char **arguments)
{
    int i, done;
    for (i = 1; i < count && strcmp(arguments[i], "--") != 0; i++) {
        if (strncmp(arguments[i], "as=", 3) == 0)
            done = limit(RLIMIT_AS, arguments[i] + 3);
        else if (strncmp(arguments[i], "data=", 5) == 0)
            done = limit(RLIMIT_DATA, arguments[i] + 5);
        else if (strncmp(arguments[i], "refuse=", 7) == 0)
            done = refuse_named(arguments[i] + 7);
        else
            errno = EINVAL, done = -1;
        if (done != 0) {
            perror(arguments[i]);
            return 125;
        }
    }
    if (i + 1 >= count) {
        fputs("robust_launch: -- PROGRAM is missing\n", stderr);
        return 125;
    }
    execvp(arguments[i + 1], arguments + i + 1);
    perror(arguments[i + 1]);
    return 126;
}
