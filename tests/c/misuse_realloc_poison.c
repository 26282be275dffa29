/* Reallocates a pattern that freed memory was filled with. */
#include <stdlib.h>

int main(void) {
    free(realloc((void *)0xdeadbeefdeadbeef, 100));
    return 0;
}
