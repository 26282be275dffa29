/* Frees a pointer with a tag in its upper byte. */
#include <stdint.h>
#include <stdlib.h>

int main(void) {
    uintptr_t object = (uintptr_t)malloc(64);
    free((void *)(object | (uintptr_t)0x2a << 56));
    return 0;
}
