/* mallinfo2 and mallinfo: the figures are those of this heap. */
#include "surface.h"

enum { COUNT = 100000, SIZE = 1000 };
static void *objects[COUNT];

#define NEAR(figure, expected, slack)                                          \
    ((figure) + (slack) >= (expected) && (figure) <= (expected) + (slack))

static void small_objects_are_counted(void) {
    struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < COUNT; i++)
        objects[i] = memset(malloc(SIZE), 1, SIZE);
    struct mallinfo2 live = mallinfo2();
    size_t grown = live.uordblks - before.uordblks;
    size_t usable = malloc_usable_size(objects[0]) * COUNT;
    CHECK(NEAR(grown, usable, 128 * KIB), "uordblks grew by %zu of %zu", grown, usable);
    CHECK(live.arena + live.hblkhd >= live.uordblks, "arena %zu, uordblks %zu", live.arena,
          live.uordblks);

    for (int i = 0; i < COUNT; i++)
        free(objects[i]);
    struct mallinfo2 freed = mallinfo2();
    CHECK(NEAR(freed.uordblks, before.uordblks, 128 * KIB), "uordblks is %zu, was %zu",
          freed.uordblks, before.uordblks);

    malloc_trim(0);
    struct mallinfo2 trimmed = mallinfo2();
    CHECK(NEAR(trimmed.uordblks, before.uordblks, 128 * KIB), "uordblks is %zu, was %zu",
          trimmed.uordblks, before.uordblks);
}

static void a_large_object_is_counted(void) {
    struct mallinfo2 before = mallinfo2();
    char *object = malloc(100 * MIB);
    struct mallinfo2 live = mallinfo2();
    size_t grown = live.uordblks - before.uordblks;
    size_t mapped = live.hblkhd - before.hblkhd;
    CHECK(NEAR(grown, 100 * MIB, 128 * KIB) || NEAR(mapped, 100 * MIB, 128 * KIB),
          "uordblks grew by %zu, hblkhd by %zu", grown, mapped);
    free(object);
    struct mallinfo2 freed = mallinfo2();
    CHECK(NEAR(freed.uordblks, before.uordblks, 128 * KIB), "uordblks is %zu, was %zu",
          freed.uordblks, before.uordblks);
    CHECK(NEAR(freed.hblkhd, before.hblkhd, 128 * KIB), "hblkhd is %zu, was %zu", freed.hblkhd,
          before.hblkhd);
}

static void free_memory_is_counted_until_it_is_given_back(void) {
    for (int i = 0; i < COUNT; i++)
        objects[i] = memset(malloc(SIZE), 1, SIZE);
    for (int i = 0; i < COUNT; i += 2)
        free(objects[i]);
    struct mallinfo2 half = mallinfo2();
    CHECK(half.fordblks >= 40000 * SIZE / 2, "fordblks is %zu", half.fordblks);
    for (int i = 1; i < COUNT; i += 2)
        free(objects[i]);
    malloc_trim(0);
    struct mallinfo2 trimmed = mallinfo2();
    CHECK(trimmed.fordblks < half.fordblks, "fordblks is %zu, was %zu", trimmed.fordblks,
          half.fordblks);
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void the_old_one_says_the_same(void) {
    void *object = malloc(10 * MIB);
    struct mallinfo old = mallinfo();
    struct mallinfo2 new = mallinfo2();
    CHECK(old.uordblks == (int)new.uordblks, "uordblks %d, %zu", old.uordblks, new.uordblks);
    CHECK(old.arena == (int)new.arena, "arena %d, %zu", old.arena, new.arena);
    CHECK(old.fordblks == (int)new.fordblks, "fordblks %d, %zu", old.fordblks, new.fordblks);
    CHECK(old.hblks == (int)new.hblks, "hblks %d, %zu", old.hblks, new.hblks);
    CHECK(old.hblkhd == (int)new.hblkhd, "hblkhd %d, %zu", old.hblkhd, new.hblkhd);
    free(object);
}

int main(void) {
    small_objects_are_counted();
    a_large_object_is_counted();
    free_memory_is_counted_until_it_is_given_back();
    the_old_one_says_the_same();
    return finish();
}
