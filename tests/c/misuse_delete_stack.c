/* Gives an array on the stack to operator delete. */
#include <stdlib.h>

void delete_(void *) __asm__("_ZdlPv");

int main(void) {
    char array[100];
    delete_(array);
    return 0;
}
