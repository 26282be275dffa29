/* Reallocates an array on the stack to nothing. */
#include <stdlib.h>

int main(void) {
    char array[100];
    free(realloc(array, 0));
    return 0;
}
