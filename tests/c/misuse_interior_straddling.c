/* Frees an address inside an object of a span in which objects straddle granules. */
#include <stdlib.h>

int main(void) {
    char *objects[12];
    for (int i = 0; i < 12; i++)
        objects[i] = malloc(20480);
    free(objects[OBJECT] + OFFSET);
    return 0;
}
