/* Frees a large object again that went back to the system. */
#include <malloc.h>
#include <stdlib.h>

int main(void) {
    void *object = malloc(1 << 20);
    free(object);
    malloc_trim(0);
    free(object);
    return 0;
}
