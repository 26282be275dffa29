/* Frees an address OFFSET bytes into an object of 1 MiB. */
#include <stdlib.h>

int main(void) {
    char *object = malloc(1 << 20);
    free(object + OFFSET);
    return 0;
}
