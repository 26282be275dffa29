/* Asks for the size of a pattern that freed memory was filled with. */
#include <malloc.h>
#include <stdlib.h>

int main(void) {
    return malloc_usable_size((void *)0xdeadbeefdeadbeef) > 0;
}
