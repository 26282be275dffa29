/* mallopt: what glibc's manual lists is accepted, all else refused. */
#include "surface.h"

int main(void) {
    struct {
        int parameter, value;
        const char *name;
    } known[] = {
        {M_TRIM_THRESHOLD, 128 * 1024, "M_TRIM_THRESHOLD"},
        {M_TRIM_THRESHOLD, -1, "M_TRIM_THRESHOLD off"},
        {M_MMAP_THRESHOLD, 256 * 1024, "M_MMAP_THRESHOLD"},
        {M_TOP_PAD, 64 * 1024, "M_TOP_PAD"},
        {M_MMAP_MAX, 0, "M_MMAP_MAX"},
        {M_ARENA_MAX, 1, "M_ARENA_MAX"},
        {M_ARENA_TEST, 2, "M_ARENA_TEST"},
        {M_PERTURB, 0, "M_PERTURB"},
        {M_CHECK_ACTION, 3, "M_CHECK_ACTION"},
        {M_MXFAST, 64, "M_MXFAST"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        CHECK(mallopt(known[i].parameter, known[i].value) == 1, "%s", known[i].name);
    int unknown[] = {0, 99, 12345, -9, -1000, 0x7fffffff, (int)0x80000000};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CHECK(mallopt(OPAQUE(unknown[i]), 1) == 0, "parameter %d", unknown[i]);

    /* None of it changes what malloc does. */
    for (size_t size = 1; size < 10 * MIB; size *= 3) {
        void *object = malloc(size);
        CHECK(object && malloc_usable_size(object) >= size, "size %zu", size);
        free(object);
    }
    return finish();
}
