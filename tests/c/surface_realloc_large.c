/* realloc of large objects: grows in place or by mremap, so that no page is
 * copied or faulted in again; shrinks in place and lets the rest go. */
#include "surface.h"
#include <sys/mman.h>

static void growing_does_not_fault_again(void) {
    size_t *object = malloc(256 * MIB);
    stamp_pages(object, 0, 256 * MIB, 1);
    long before = faults();
    object = realloc(object, 512 * MIB);
    CHECK(object, "512 MiB");
    check_pages(object, 256 * MIB, 1, "after growing");
    long faulted = faults() - before;
    CHECK(faulted < 3000, "256 MiB to 512 MiB: %ld faults", faulted);
    free(object);
}

/* Each page is faulted in once, however often the object grows. */
static void growing_in_steps_faults_each_page_once(void) {
    size_t size = MIB;
    long before = faults();
    size_t *object = malloc(size);
    stamp_pages(object, 0, size, 1);
    while (size < 256 * MIB) {
        size_t larger = size * 5 / 4 / PAGE * PAGE;
        object = realloc(object, larger);
        CHECK(object, "%zu bytes", larger);
        stamp_pages(object, size, larger, 1);
        size = larger;
    }
    check_pages(object, size, 1, "after growing in steps");
    long faulted = faults() - before, pages = (long)(size / PAGE);
    CHECK(faulted < pages + pages / 10, "%ld faults for %ld pages", faulted, pages);
    free(object);
}

/* Copying would hold both for a moment. */
static void growing_does_not_hold_both(void) {
    malloc_trim(0);
    size_t *object = malloc(400 * MIB);
    struct rusage usage;
    stamp_pages(object, 0, 400 * MIB, 1);
    object = realloc(object, 700 * MIB);
    check_pages(object, 400 * MIB, 1, "after growing");
    getrusage(RUSAGE_SELF, &usage);
    CHECK((size_t)usage.ru_maxrss * KIB < 500 * MIB, "peak %ld KiB", usage.ru_maxrss);
    free(object);
}

/* The system moves only what is one mapping: what the program asked for a
 * part of its object must not cost the contents. */
static void an_object_in_several_mappings_keeps_its_contents(void) {
    int advice[] = {MADV_DONTDUMP, MADV_DONTFORK, MADV_SEQUENTIAL};
    for (size_t i = 0; i < sizeof advice / sizeof *advice; i++) {
        size_t *object = malloc(16 * MIB);
        stamp_pages(object, 0, 16 * MIB, 1);
        char *middle = (char *)object + 5 * MIB;
        madvise(middle - (uintptr_t)middle % PAGE, 3 * MIB, advice[i]);
        object = realloc(object, 100 * MIB);
        check_pages(object, 16 * MIB, 1, "after growing");
        stamp_pages(object, 16 * MIB, 100 * MIB, 1);
        object = realloc(object, 10 * MIB);
        check_pages(object, 10 * MIB, 1, "after shrinking");
        free(object);
    }
}

static void a_free_neighbour_is_grown_into(void) {
    enum { COUNT = 16 };
    char *objects[COUNT];
    size_t size = 320 * KIB;
    int pairs = 0;
    for (int i = 0; i < COUNT; i++)
        objects[i] = malloc(size);
    size_t usable = malloc_usable_size(objects[0]);
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < COUNT; j++) {
            if (!objects[i] || !objects[j] || objects[j] != objects[i] + usable)
                continue;
            objects[i][usable - 1] = 42;
            free(objects[j]);
            objects[j] = NULL;
            char *grown = realloc(objects[i], usable + usable / 2);
            CHECK(grown == objects[i], "%p moved to %p", (void *)objects[i], (void *)grown);
            CHECK(grown[usable - 1] == 42, "contents");
            free(grown);
            objects[i] = NULL;
            pairs++;
        }
    CHECK(pairs > 0, "no two of %d objects of %zu bytes stand side by side", COUNT, size);
    for (int i = 0; i < COUNT; i++)
        free(objects[i]);
}

static void shrinking_lets_the_rest_go(void) {
    size_t *object = malloc(64 * MIB);
    stamp_pages(object, 0, 64 * MIB, 1);
    long before = faults();
    object = realloc(object, MIB);
    CHECK(malloc_usable_size(object) <= MIB + PAGE, "usable is %zu",
          malloc_usable_size(object));
    check_pages(object, MIB, 1, "after shrinking");
    CHECK(faults() - before < 300, "%ld faults", faults() - before);
    malloc_trim(0);
    size_t resident = status_bytes("VmRSS");
    CHECK(resident < 32 * MIB, "%zu KiB are resident", resident / KIB);
    check_pages(object, MIB, 1, "after the trim");
    free(object);
}

static void shrinking_a_little_stays_in_place(void) {
    for (size_t size = MIB; size <= 64 * MIB; size *= 4) {
        size_t *object = malloc(size);
        stamp_pages(object, 0, size, 1);
        size_t *shrunk = realloc(object, size - 3 * PAGE);
        CHECK(shrunk == object, "%zu bytes moved", size);
        check_pages(shrunk, size - 3 * PAGE, 1, "after shrinking");
        free(shrunk);
    }
}

int main(void) {
    without_huge_pages();
    growing_does_not_fault_again();
    growing_in_steps_faults_each_page_once();
    growing_does_not_hold_both();
    an_object_in_several_mappings_keeps_its_contents();
    a_free_neighbour_is_grown_into();
    shrinking_lets_the_rest_go();
    shrinking_a_little_stays_in_place();
    return finish();
}
