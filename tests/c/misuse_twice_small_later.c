/* Frees a small object again that has reached its span. */
#include <malloc.h>
#include <stdlib.h>

int main(void) {
    void *objects[100];
    for (int i = 0; i < 100; i++)
        objects[i] = malloc(64);
    free(objects[50]);
    malloc_trim(0);
    free(objects[50]);
    malloc_trim(0);
    return 0;
}
