/* Ends in the way that its argument names; says the numbers of the processes that
 * are to leave a summary, one a line. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(void) {
    char line[32];
    int length = sprintf(line, "%d\n", (int)getpid());
    write(1, line, length);
}

/* As programs do that look whether all was written (gnulib's close_stdout). */
static void close_stderr(void) { fclose(stderr); }

static void *idle(void *argument) {
    pause();
    return argument;
}

int main(int count, char **arguments) {
    const char *way = count > 1 ? arguments[1] : "return";
    void *volatile kept = memset(malloc(10 << 20), 1, 10 << 20);
    pthread_t thread;
    if (!strcmp(way, "return")) {
        say();
    } else if (!strcmp(way, "secure")) {
        puts(getauxval(AT_SECURE) ? "secure" : "not secure");
    } else if (!strcmp(way, "exit")) {
        say();
        pthread_create(&thread, NULL, idle, NULL);
        exit(0);
    } else if (!strcmp(way, "closed")) {
        say();
        atexit(close_stderr);
    } else if (!strcmp(way, "fork")) {
        pid_t child = fork();
        if (child == 0) {
            say();
            exit(0);
        }
        waitpid(child, NULL, 0);
        say();
    } else if (!strcmp(way, "elsewhere")) {
        chdir("/");
        clearenv();
        say();
    } else if (!strcmp(way, "reused")) {
        /* All of it is closed, and the numbers are those of other files. */
        for (int file = 0; file < 1024; file++)
            if (file != 1)
                close(file);
        while (open(arguments[2], O_WRONLY | O_CREAT, 0600) < 300)
            ;
    } else if (!strcmp(way, "_exit")) {
        _exit(0);
    } else {
        return 2;
    }
    (void)kept;
    return 0;
}
