/* Two threads free the same small object. */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

static void *frees(void *object) {
    free(object);
    return NULL;
}

int main(void) {
    void *objects[100];
    for (int i = 0; i < 100; i++)
        objects[i] = malloc(64);
    pthread_t thread;
    pthread_create(&thread, NULL, frees, objects[50]);
    pthread_join(thread, NULL);
    free(objects[50]);
    malloc_trim(0);
    return 0;
}
