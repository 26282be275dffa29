/* Frees a number taken for an address. */
#include <stdlib.h>

int main(void) {
    free((void *)0x12345670);
    return 0;
}
