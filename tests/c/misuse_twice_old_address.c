/* Frees the old address of an object that realloc has moved. */
#include <stdlib.h>

int main(void) {
    void *object = malloc(1 << 20), *wall = malloc(1 << 20);
    void *moved = realloc(object, 64 << 20);
    free(object);
    free(moved);
    free(wall);
    return 0;
}
