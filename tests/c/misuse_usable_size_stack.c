/* Asks for the size of an array on the stack. */
#include <malloc.h>
#include <stdlib.h>

int main(void) {
    char array[100];
    return malloc_usable_size(array) > 0;
}
