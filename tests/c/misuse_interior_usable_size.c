/* Asks for the size of an address 24 bytes into an object of 64. */
#include <malloc.h>
#include <stdlib.h>

int main(void) {
    char *object = malloc(64);
    return malloc_usable_size(object + 24) > 0;
}
