/* Frees an object of 1 MiB as one of 2 MiB. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

int main(void) {
    void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    free_sized(malloc(1 << 20), 2 << 20);
    return 0;
}
