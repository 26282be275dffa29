/* Frees a large object again that has merged with its neighbours. */
#include <stdlib.h>

int main(void) {
    void *objects[4];
    for (int i = 0; i < 4; i++)
        objects[i] = malloc(300000);
    for (int i = 0; i < 4; i++)
        free(objects[i]);
    free(objects[2]);
    return 0;
}
