/* malloc, calloc, free and malloc_usable_size: the plain rules. */
#include "surface.h"

static void size_zero_gives_unique_pointers(void) {
    enum { COUNT = 1000 };
    static void *objects[COUNT];
    for (int i = 0; i < COUNT; i++) {
        switch (i % 4) {
        case 0: objects[i] = malloc(OPAQUE((size_t)0)); break;
        case 1: objects[i] = calloc(OPAQUE((size_t)0), 8); break;
        case 2: objects[i] = calloc(OPAQUE((size_t)8), 0); break;
        default: objects[i] = realloc(NULL, OPAQUE((size_t)0)); break;
        }
        CHECK(objects[i] != NULL, "object %d", i);
        for (int j = 0; j < i; j++)
            CHECK(objects[i] != objects[j], "objects %d and %d", i, j);
    }
    for (int i = 0; i < COUNT; i++)
        free(objects[i]);
}

static void free_of_null_does_nothing(void) {
    errno = 4711;
    free(OPAQUE((void *)NULL));
    CHECK(errno == 4711, "free(NULL)");
}

static void usable_size_of_null_is_zero(void) {
    CHECK(malloc_usable_size(OPAQUE((void *)NULL)) == 0, "NULL");
}

static void usable_size_stays_the_same_for_an_object(void) {
    for (size_t size = 0; size < 3 * MIB; size = size * 3 / 2 + 1) {
        void *object = malloc(size);
        size_t usable = malloc_usable_size(object);
        CHECK(usable >= size, "size %zu, usable %zu", size, usable);
        memset(object, 0xa5, usable);
        CHECK(malloc_usable_size(object) == usable, "size %zu", size);
        free(object);
    }
}

static void objects_are_kept_while_others_come_and_go(void) {
    enum { COUNT = 2000 };
    static unsigned char *kept[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        void *passing = malloc(i * 7 % 5000);
        kept[i] = malloc(i);
        memset(kept[i], (int)i, i);
        free(passing);
    }
    for (size_t i = 0; i < COUNT; i++) {
        CHECK(all_bytes_are(kept[i], (int)i, i), "object %zu", i);
        free(kept[i]);
    }
}

/* malloc_usable_size aborts on what another allocator made. */
static void the_c_library_allocates_here(void) {
    char *line = NULL, *printed = NULL, *stream = NULL;
    size_t length = 0;
    FILE *file = fopen("/proc/self/status", "r");
    FILE *memory = open_memstream(&stream, &length);
    CHECK(getline(&line, &length, file) > 0, "getline");
    CHECK(asprintf(&printed, "%s%300s", line, "x") > 300, "asprintf");
    fclose(file);
    fclose(memory);
    char *made[] = {line, printed, stream, strdup("text"), getcwd(NULL, 0),
                    realpath("/proc/self", NULL)};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        CHECK(made[i] && malloc_usable_size(made[i]) > strlen(made[i]), "string %zu", i);
        free(made[i]);
    }
}

int main(void) {
    size_zero_gives_unique_pointers();
    free_of_null_does_nothing();
    usable_size_of_null_is_zero();
    usable_size_stays_the_same_for_an_object();
    objects_are_kept_while_others_come_and_go();
    the_c_library_allocates_here();
    return finish();
}
