/* A program that is linked with libthmalloc.so and includes its header: says
 * which version serves it, and how. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <thmalloc.h>

int main(void) {
    char *object = malloc(100);
    strcpy(object, "an object");
    printf("%s %s %d\n", thmalloc_version(), thmalloc_cache_mode(), thmalloc_check());
    free(object);
    return thmalloc_check();
}
