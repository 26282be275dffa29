/* Says how it was started: its arguments in hex, one to a line, then the
   state that a program inherits: ignored signals, open descriptors, the
   working directory. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        printf("argument ");
        for (const char *c = argv[i]; *c; c++)
            printf("%02x", (unsigned char)*c);
        printf("\n");
    }
    for (int number = 1; number < NSIG; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            printf("ignored %d\n", number);
    }
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (int number = 1; number < NSIG; number++)
        if (sigismember(&blocked, number) == 1)
            printf("blocked %d\n", number);
    for (int descriptor = 0; descriptor < 1024; descriptor++)
        if (fcntl(descriptor, F_GETFD) != -1)
            printf("descriptor %d\n", descriptor);
    char *directory = getcwd(NULL, 0);
    printf("directory %s\n", directory);
    free(directory);
    return 0;
}
