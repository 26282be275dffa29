/* Frees what sbrk gave. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

int main(void) {
    free(sbrk(4096));
    return 0;
}
