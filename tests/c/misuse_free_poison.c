/* Frees a pattern that freed memory was filled with. */
#include <stdlib.h>

int main(void) {
    free((void *)0xdeadbeefdeadbeef);
    return 0;
}
