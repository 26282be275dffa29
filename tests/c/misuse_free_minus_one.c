/* Frees MAP_FAILED. */
#include <stdlib.h>

int main(void) {
    free((void *)-1);
    return 0;
}
