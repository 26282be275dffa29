/* Frees an address OFFSET bytes into an object of 64. */
#include <stdlib.h>

int main(void) {
    char *object = malloc(64);
    free(object + OFFSET);
    return 0;
}
