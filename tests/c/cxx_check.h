// What the C++ programs share: a check that says what failed, and the
// library's own walk over its heap at the end.
#ifndef CXX_CHECK_H
#define CXX_CHECK_H

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <malloc.h>
#include <new>

constexpr std::size_t KIB = std::size_t{1} << 10;
constexpr std::size_t MIB = std::size_t{1} << 20;

// More than any machine gives.
constexpr std::size_t TOO_LARGE = std::size_t{1} << 62;

#define CHECK(condition, ...)                                                  \
    do {                                                                       \
        if (!(condition)) {                                                    \
            std::fprintf(stderr, "%s:%d: %s does not hold: ", __FILE__,        \
                         __LINE__, #condition);                                \
            std::fprintf(stderr, __VA_ARGS__);                                 \
            std::fputc('\n', stderr);                                          \
            std::exit(1);                                                      \
        }                                                                      \
    } while (0)

// Keeps the compiler from knowing what a value is.
template <typename T> T opaque(T value) {
    asm volatile("" : "+r"(value) : : "memory");
    return value;
}

inline int finish() {
    auto check = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "thmalloc_check"));
    return check ? check() : 0;
}

#endif
