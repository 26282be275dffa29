/* However often large objects have moved, they move by remapping: a sparse one that grows
 * gets no memory by it. */
#include "surface.h"

enum { OFTEN = 20000 };

int main(void) {
    long moved = 0;
    for (long turn = 0; moved < OFTEN && turn < 4 * OFTEN; turn++) {
        void *volatile object = malloc(2 * MIB), *volatile behind = malloc(2 * MIB);
        void *volatile larger = realloc(object, 4 * MIB);
        CHECK(larger && behind, "4 MiB");
        moved += larger != object;
        free(larger);
        free(behind);
    }
    CHECK(moved == OFTEN, "only %ld moved", moved);
    unsigned char *sparse = malloc(256 * MIB), *behind = malloc(2 * MIB);
    CHECK(sparse && behind, "256 MiB");
    sparse[0] = 1;
    sparse[255 * MIB] = 2;
    size_t before = status_bytes("VmRSS");
    unsigned char *grown = realloc(sparse, 512 * MIB);
    CHECK(grown, "512 MiB");
    size_t after = status_bytes("VmRSS");
    CHECK(after < before + 16 * MIB, "%zu MiB more", (after - before) / MIB);
    CHECK(grown[0] == 1 && grown[255 * MIB] == 2 && grown[100 * MIB] == 0, "contents");
    free(grown);
    free(behind);
    return finish();
}
