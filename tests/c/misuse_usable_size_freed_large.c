/* Asks for the size of an object of 1 MiB that is free. */
#include <malloc.h>
#include <stdlib.h>

int main(void) {
    void *object = malloc(1 << 20);
    free(object);
    return malloc_usable_size(object) > 0;
}
