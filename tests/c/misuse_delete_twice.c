/* Gives an object of 1 MiB to operator delete twice. */
#include <stdlib.h>

void *new_(size_t) __asm__("_Znwm");
void delete_(void *) __asm__("_ZdlPv");

int main(void) {
    void *object = new_(1 << 20);
    delete_(object);
    delete_(object);
    return 0;
}
