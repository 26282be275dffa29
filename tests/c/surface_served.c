/* Each name given as an argument resolves into libthmalloc.so, and not into
 * the C or C++ library whose heap is another. */
#include "surface.h"

int main(int count, char **names) {
    for (int i = 1; i < count; i++) {
        void *address = function(names[i]);
        Dl_info info;
        CHECK(address, "%s is nowhere", names[i]);
        CHECK(dladdr(address, &info), "%s", names[i]);
        CHECK(strstr(info.dli_fname, "libthmalloc.so"), "%s is in %s", names[i],
              info.dli_fname);
    }
    return finish();
}
