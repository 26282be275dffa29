/* Frees an array on the stack with its alignment and size. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

int main(void) {
    void (*free_aligned_sized)(void *, size_t, size_t) =
        (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
    char array[128];
    free_aligned_sized(array, 64, sizeof array);
    return 0;
}
