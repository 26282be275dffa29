/* Frees a small object twice, the only one of its size. */
#include <malloc.h>
#include <stdlib.h>

int main(void) {
    void *object = malloc(100000);
    free(object);
    malloc_trim(0);
    free(object);
    malloc_trim(0);
    return 0;
}
