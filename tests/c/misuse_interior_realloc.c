/* Reallocates an address 16 bytes into an object of 64. */
#include <stdlib.h>

int main(void) {
    char *object = malloc(64);
    free(realloc(object + 16, 100));
    return 0;
}
