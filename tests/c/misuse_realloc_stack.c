/* Reallocates an array on the stack. */
#include <stdlib.h>

int main(void) {
    char array[100];
    free(realloc(array, 200));
    return 0;
}
