// The library of surface_late_cxx.c: operator new fails in it.
#include "cxx_check.h"

#include <string>

extern "C" int bad_alloc_was_caught() {
    int caught = 0;
    std::set_new_handler(nullptr);
    try {
        char *object = opaque(new char[opaque(TOO_LARGE)]);
        delete[] object;
    } catch (const std::bad_alloc &error) {
        caught = std::strcmp(error.what(), "std::bad_alloc") == 0;
    }
    if (::operator new(opaque(TOO_LARGE), std::nothrow))
        return -1;
    return std::string(100, 'x').size() == 100 ? caught : -2;
}

static int calls;

extern "C" int new_handler_was_called() {
    calls = 0;
    std::set_new_handler([] {
        calls++;
        std::set_new_handler(nullptr);
    });
    try {
        ::operator delete(::operator new(opaque(TOO_LARGE)));
    } catch (const std::bad_alloc &) {
        return calls;
    }
    return -1;
}
