/* Frees an object of 1 MiB twice. */
#include <stdlib.h>

int main(void) {
    void *object = malloc(1 << 20);
    free(object);
    free(object);
    return 0;
}
