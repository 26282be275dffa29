/* Frees an address of the kernel. */
#include <stdlib.h>

int main(void) {
    free((void *)0xffffffff81000000);
    return 0;
}
