/* Reallocates a static array as an array. */
#define _GNU_SOURCE
#include <stdlib.h>

static char array[100];

int main(void) {
    free(reallocarray(array, 10, 20));
    return 0;
}
