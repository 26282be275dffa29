/* free_sized and free_aligned_sized (C23), found at run time: an older C
 * library neither declares nor has them. */
#include "surface.h"

static void (*free_sized_)(void *, size_t);
static void (*free_aligned_sized_)(void *, size_t, size_t);

int main(void) {
    free_sized_ = (void (*)(void *, size_t))function("free_sized");
    free_aligned_sized_ = (void (*)(void *, size_t, size_t))function("free_aligned_sized");
    CHECK(free_sized_ && free_aligned_sized_, "both are there");

    errno = 4711;
    free_sized_(NULL, 0);
    free_sized_(NULL, 100);
    free_aligned_sized_(NULL, 64, 128);
    for (size_t size = 0; size < 80 * MIB; size += 1 + size / 20) {
        unsigned char *object = malloc(size);
        soil(object, size);
        free_sized_(object, size);
        object = calloc(size, 1);
        CHECK(all_bytes_are(object, 0, size < MIB ? size : MIB), "size %zu", size);
        free_sized_(object, size);
        object = realloc(malloc(size / 2 + 1), size + 1);
        free_sized_(object, size + 1);
    }
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2)
        for (size_t count = 1; count < 5; count++) {
            size_t size = alignment * count;
            unsigned char *object = aligned_alloc(alignment, size);
            memset(object, 0xee, size);
            free_aligned_sized_(object, alignment, size);
        }
    CHECK(errno == 4711, "both keep errno");

    /* What they took is used again: this would need 64 GiB otherwise. */
    size_t before = status_bytes("VmSize");
    for (int i = 0; i < 1024; i++) {
        void *object = malloc(64 * MIB);
        CHECK(object, "round %d", i);
        free_sized_(object, 64 * MIB);
    }
    size_t held = status_bytes("VmSize");
    CHECK(held < before + 8 * GIB, "%zu MiB of address space", held / MIB);
    return finish();
}
