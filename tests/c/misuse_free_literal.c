/* Frees a string literal. */
#include <stdlib.h>

int main(void) {
    free((void *)"text");
    return 0;
}
