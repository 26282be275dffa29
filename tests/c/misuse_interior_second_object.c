/* Frees an address inside the second of many objects of 48. */
#include <stdlib.h>

int main(void) {
    char *objects[100];
    for (int i = 0; i < 100; i++)
        objects[i] = malloc(48);
    free(objects[1] + 40);
    return 0;
}
