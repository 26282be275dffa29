/* Frees the address 1. */
#include <stdlib.h>

int main(void) {
    free((void *)1);
    return 0;
}
