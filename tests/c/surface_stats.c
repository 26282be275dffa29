/* malloc_stats: writes to stderr while 100 MB are live, and nothing else
 * does. */
#include "surface.h"

int main(void) {
    void *object = memset(malloc(100 * MIB), 1, 100 * MIB);
    malloc_stats();
    free(object);
    return finish();
}
