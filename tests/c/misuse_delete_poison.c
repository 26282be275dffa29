/* Gives a pattern that freed memory was filled with to operator delete. */
#include <stdlib.h>

void delete_(void *) __asm__("_ZdlPv");

int main(void) {
    delete_((void *)0xdeadbeefdeadbeef);
    return 0;
}
