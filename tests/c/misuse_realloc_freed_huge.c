/* Reallocates an object of 64 MiB that is free. */
#include <stdlib.h>

int main(void) {
    void *object = malloc(64 << 20);
    free(object);
    free(realloc(object, 65 << 20));
    return 0;
}
