/* Frees a large object that realloc to 0 has freed. */
#include <stdlib.h>

int main(void) {
    void *object = malloc(1 << 20);
    realloc(object, 0);
    free(object);
    return 0;
}
