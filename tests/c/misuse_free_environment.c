/* Frees a string of the environment that the system made. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    free(environ[0]);
    return 0;
}
