/* Frees an object's address with its highest bit set. */
#include <stdint.h>
#include <stdlib.h>

int main(void) {
    uintptr_t object = (uintptr_t)malloc(64);
    free((void *)(object | (uintptr_t)1 << 63));
    return 0;
}
