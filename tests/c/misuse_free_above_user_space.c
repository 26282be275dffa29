/* Frees the first address above user space. */
#include <stdlib.h>

int main(void) {
    free((void *)(1ul << 47));
    return 0;
}
