// Every replaceable operator new and delete, called by its name and through
// expressions: aligned, large enough, apart, and taken back.
#include "cxx_check.h"

#include <string>
#include <vector>

static void check_object(void *object, std::size_t size, std::size_t alignment) {
    CHECK(object, "size %zu", size);
    CHECK(reinterpret_cast<std::uintptr_t>(object) % alignment == 0, "size %zu, alignment %zu: %p",
          size, alignment, object);
    CHECK(malloc_usable_size(object) >= size, "size %zu, alignment %zu", size, alignment);
    std::memset(object, 0x6b, malloc_usable_size(object));
}

static const std::size_t SIZES[] = {0, 1, 8, 16, 100, 1000, 4096, 70000, 300000, 5 * MIB};

static void plain_and_sized() {
    for (std::size_t size : SIZES) {
        std::size_t alignment = size > 8 ? 16 : 8;
        void *object = ::operator new(size);
        check_object(object, size, alignment);
        ::operator delete(object);
        object = ::operator new(size);
        check_object(object, size, alignment);
        ::operator delete(object, size);
        object = ::operator new[](size);
        check_object(object, size, alignment);
        ::operator delete[](object);
        object = ::operator new[](size);
        check_object(object, size, alignment);
        ::operator delete[](object, size);
    }
}

static void nothrow() {
    for (std::size_t size : SIZES) {
        void *object = ::operator new(size, std::nothrow);
        check_object(object, size, 8);
        ::operator delete(object, std::nothrow);
        object = ::operator new[](size, std::nothrow);
        check_object(object, size, 8);
        ::operator delete[](object, std::nothrow);
    }
}

static void aligned() {
    for (std::size_t power = 1; power <= 2 * MIB; power *= 2)
        for (std::size_t size : SIZES) {
            auto alignment = std::align_val_t{power};
            void *object = ::operator new(size, alignment);
            check_object(object, size, power);
            ::operator delete(object, alignment);
            object = ::operator new(size, alignment);
            check_object(object, size, power);
            ::operator delete(object, size, alignment);
            object = ::operator new[](size, alignment);
            check_object(object, size, power);
            ::operator delete[](object, alignment);
            object = ::operator new[](size, alignment);
            check_object(object, size, power);
            ::operator delete[](object, size, alignment);
            object = ::operator new(size, alignment, std::nothrow);
            check_object(object, size, power);
            ::operator delete(object, alignment, std::nothrow);
            object = ::operator new[](size, alignment, std::nothrow);
            check_object(object, size, power);
            ::operator delete[](object, alignment, std::nothrow);
        }
}

static void *null() { return opaque<void *>(nullptr); }

static void delete_of_null() {
    auto alignment = std::align_val_t{64};
    ::operator delete(null());
    ::operator delete[](null());
    ::operator delete(null(), 100);
    ::operator delete[](null(), 100);
    ::operator delete(null(), std::nothrow);
    ::operator delete[](null(), std::nothrow);
    ::operator delete(null(), alignment);
    ::operator delete[](null(), alignment);
    ::operator delete(null(), 128, alignment);
    ::operator delete[](null(), 128, alignment);
    ::operator delete(null(), alignment, std::nothrow);
    ::operator delete[](null(), alignment, std::nothrow);
}

static void size_zero_is_unique() {
    std::vector<void *> objects;
    for (int i = 0; i < 200; i++) {
        objects.push_back(i % 2 ? ::operator new(opaque<std::size_t>(0))
                                : ::operator new[](opaque<std::size_t>(0)));
        for (int j = 0; j < i; j++)
            CHECK(objects[i] != objects[j], "objects %d and %d", i, j);
    }
    for (void *object : objects)
        ::operator delete(object);
}

template <std::size_t ALIGNMENT> struct alignas(ALIGNMENT) Aligned {
    unsigned char bytes[ALIGNMENT];
    Aligned() { std::memset(bytes, 0x11, sizeof bytes); }
    ~Aligned() { CHECK(bytes[ALIGNMENT - 1] == 0x11, "alignment %zu", ALIGNMENT); }
};

template <std::size_t ALIGNMENT> static void expressions() {
    for (int round = 0; round < 4; round++) {
        auto *one = opaque(new Aligned<ALIGNMENT>);
        auto *several = opaque(new Aligned<ALIGNMENT>[3]);
        CHECK(reinterpret_cast<std::uintptr_t>(one) % ALIGNMENT == 0, "new of %zu", ALIGNMENT);
        CHECK(reinterpret_cast<std::uintptr_t>(several) % ALIGNMENT == 0, "new[] of %zu", ALIGNMENT);
        delete one;
        delete[] several;
        one = opaque(new (std::nothrow) Aligned<ALIGNMENT>);
        CHECK(reinterpret_cast<std::uintptr_t>(one) % ALIGNMENT == 0, "nothrow of %zu", ALIGNMENT);
        delete one;
    }
    std::vector<Aligned<ALIGNMENT>> grown(5);
    grown.resize(9);
    CHECK(reinterpret_cast<std::uintptr_t>(grown.data()) % ALIGNMENT == 0, "vector of %zu", ALIGNMENT);
}

static void errno_is_kept() {
    errno = 4711;
    for (std::size_t size : SIZES) {
        ::operator delete(::operator new(size));
        ::operator delete(::operator new(size, std::align_val_t{128}), std::align_val_t{128});
    }
    CHECK(errno == 4711, "errno is now %d", errno);
}

int main() {
    plain_and_sized();
    nothrow();
    aligned();
    delete_of_null();
    size_zero_is_unique();
    expressions<16>();
    expressions<64>();
    expressions<4096>();
    expressions<2 * MIB>();
    errno_is_kept();
    return finish();
}
