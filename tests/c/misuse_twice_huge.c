/* Frees an object of 64 MiB twice. */
#include <stdlib.h>

int main(void) {
    void *object = malloc(64 << 20);
    free(object);
    free(object);
    return 0;
}
