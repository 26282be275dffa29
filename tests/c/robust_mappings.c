/* A process that has as many mappings as the system allows, and no address space
 * beyond: what is free cannot be unmapped then, since that would split a mapping, and
 * must not be lost for it.
 */
#include "stamp.h"
#include <sys/mman.h>
#include <sys/resource.h>

enum { COUNT = 8, SIZE = 8 << 20 };

static size_t number_in(const char *path)
{
    size_t number = 0;
    FILE *file = fopen(path, "r");
    REQUIRE(file && fscanf(file, "%zu", &number) == 1);
    fclose(file);
    return number;
}

/* Each page of a kind of its own is a mapping. */
static void use_up_mappings(void)
{
    size_t page = 4096, most = number_in("/proc/sys/vm/max_map_count");
    char *pages = mmap(NULL, 2 * most * page, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(pages != MAP_FAILED);
    for (size_t i = 1; i < 2 * most; i += 2)
        if (mprotect(pages + i * page, page, PROT_READ) != 0)
            return;
    fail("more than %zu mappings", most);
}

int main(void)
{
    struct stamped objects[COUNT];
    for (uint32_t i = 0; i < COUNT; i++)
        objects[i] = stamp(malloc(SIZE), SIZE, 1, i);
    stamp_free(&objects[2]);
    stamp_free(&objects[5]);
    use_up_mappings();
    struct rlimit limit = {4096 * number_in("/proc/self/statm"), RLIM_INFINITY};
    REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0);
    /* Volatile, or the compiler leaves it out. */
    void *volatile refused = malloc((size_t)1 << 30);
    REQUIRE(!refused && errno == ENOMEM);
    objects[2] = stamp(malloc(SIZE), SIZE, 2, 2);
    objects[5] = stamp(malloc(SIZE), SIZE, 2, 5);
    for (uint32_t i = 0; i < COUNT; i++)
        stamp_check(&objects[i]);
    check_heap();
    stamp_free(&objects[5]);
    unsigned char *zeroed = calloc(1, SIZE);
    REQUIRE(zeroed);
    for (size_t at = 0; at < SIZE; at++)
        REQUIRE(zeroed[at] == 0);
    check_heap();
    return 0;
}
