/* malloc_info: writes four documents to the files that the arguments name,
 * at rest, with 100 MB live, after the free, and after malloc_trim(0). Who
 * runs it reads them. */
#include "surface.h"

enum { COUNT = 100000, SIZE = 1000 };
static void *objects[COUNT];

static void write_document(const char *path) {
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    CHECK(malloc_info(0, memory) == 0, "for %s", path);
    fclose(memory);
    CHECK(length > 0 && strlen(text) == length, "for %s", path);
    FILE *file = fopen(path, "w");
    CHECK(file && fwrite(text, 1, length, file) == length, "for %s", path);
    fclose(file);
    free(text);
}

static void options_are_refused(void) {
    FILE *null = fopen("/dev/null", "w");
    CHECK(malloc_info(OPAQUE(1), null) != 0, "options 1");
    fclose(null);
}

int main(int count, char **arguments) {
    CHECK(count == 5, "four paths are given");
    options_are_refused();
    write_document(arguments[1]);
    for (int i = 0; i < COUNT; i++)
        objects[i] = memset(malloc(SIZE), 1, SIZE);
    write_document(arguments[2]);
    for (int i = 0; i < COUNT; i++)
        free(objects[i]);
    write_document(arguments[3]);
    malloc_trim(0);
    write_document(arguments[4]);
    return finish();
}
