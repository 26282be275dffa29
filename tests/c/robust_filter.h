/* robust_filter.h: system calls that are refused from now on, with a given errno, by
 * a filter that is written out by hand. Filters add up, pass to children and
 * through exec, and never go away.
 */
#ifndef ROBUST_FILTER_H
#define ROBUST_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int install_filter(struct sock_filter *code, unsigned short length)
{
    struct sock_fprog program = {length, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

#define LOAD(field) \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))

/* System call `number` fails with `error`. */
__attribute__((unused)) static int refuse(int number, int error)
{
    struct sock_filter code[] = {
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        REFUSE(error),
        ALLOW,
    };
    return install_filter(code, sizeof code / sizeof *code);
}

/* System call `number` fails with `error` where its argument `which` is at
 * least `least` (below 4 GiB). */
__attribute__((unused)) static int refuse_from(int number, int which, unsigned least,
                                               int error)
{
    struct sock_filter code[] = {
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, args) + 8 * which + 4),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 0, 2, 0),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * which),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, least, 0, 1),
        REFUSE(error),
        ALLOW,
    };
    return install_filter(code, sizeof code / sizeof *code);
}

#endif
