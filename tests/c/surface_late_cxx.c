/* A C program that loads a C++ library late and for itself alone: operator
 * new in there fails, and throws into a library that was not there when the
 * allocator started. */
#include "surface.h"

int main(int count, char **arguments) {
    CHECK(count == 2, "the library's path is given");
    CHECK(!function("_ZSt15get_new_handlerv"), "no C++ library yet");
    for (int i = 0; i < 3; i++) {
        void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
        CHECK(library, "%s", dlerror());
        CHECK(!function("_ZSt15get_new_handlerv"), "the C++ library stays local");
        int (*caught)(void) = (int (*)(void))dlsym(library, "bad_alloc_was_caught");
        CHECK(caught && caught() == 1, "std::bad_alloc is caught, round %d", i);
        int (*handled)(void) = (int (*)(void))dlsym(library, "new_handler_was_called");
        CHECK(handled && handled() == 1, "the new-handler is called, round %d", i);
        dlclose(library);
    }
    return finish();
}
