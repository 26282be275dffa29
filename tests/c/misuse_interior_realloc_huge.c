/* Reallocates an address 2 MiB into an object of 64 MiB. */
#include <stdlib.h>

int main(void) {
    char *object = malloc(64 << 20);
    free(realloc(object + (2 << 20), 100));
    return 0;
}
