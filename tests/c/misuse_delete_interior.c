/* Gives the second base of an object to operator delete. */
#include <stdlib.h>

void *new_(size_t) __asm__("_Znwm");
void delete_(void *) __asm__("_ZdlPv");

int main(void) {
    char *object = new_(64);
    delete_(object + 16);
    return 0;
}
