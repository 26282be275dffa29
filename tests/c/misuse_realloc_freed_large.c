/* Reallocates an object of 1 MiB that is free. */
#include <stdlib.h>

int main(void) {
    void *object = malloc(1 << 20);
    free(object);
    free(realloc(object, 2 << 20));
    return 0;
}
