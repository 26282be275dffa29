/* Frees a static array. */
#include <stdlib.h>

static char array[100];

int main(void) {
    free(array);
    return 0;
}
