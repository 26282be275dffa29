/* Frees the object's end where it was aligned to its size. */
#include <stdlib.h>

int main(void) {
    char *object = aligned_alloc(4096, 8192);
    free(object + 4096);
    return 0;
}
