/* Frees a function. */
#include <stdlib.h>

int main(void) {
    free((void *)main);
    return 0;
}
