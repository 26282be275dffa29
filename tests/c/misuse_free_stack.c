/* Frees an array on the stack. */
#include <stdlib.h>

int main(void) {
    char array[100];
    free(array);
    return 0;
}
