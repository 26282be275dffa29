/* Frees eight letters that were copied over a pointer. */
#include <stdlib.h>
#include <string.h>

int main(void) {
    void *pointer;
    memcpy(&pointer, "overflow", sizeof pointer);
    free(pointer);
    return 0;
}
