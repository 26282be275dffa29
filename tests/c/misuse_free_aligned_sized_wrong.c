/* Frees an aligned object of 256 bytes as one of 4096. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>

int main(void) {
    void (*free_aligned_sized)(void *, size_t, size_t) =
        (void (*)(void *, size_t, size_t))dlsym(RTLD_DEFAULT, "free_aligned_sized");
    free_aligned_sized(aligned_alloc(64, 256), 64, 4096);
    return 0;
}
