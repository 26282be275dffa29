/* Frees an object of 64 MiB as one of 100 bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

int main(void) {
    void (*free_sized)(void *, size_t) = (void (*)(void *, size_t))dlsym(RTLD_DEFAULT, "free_sized");
    free_sized(malloc(64 << 20), 100);
    return 0;
}
