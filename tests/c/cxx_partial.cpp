// A program that replaces only the plain operator new and delete: the C++
// standard has all other forms that are not aligned come to these two. Its
// objects have a header in front, so that nobody else could take them back.
#include "cxx_check.h"

static int live;
constexpr std::size_t HEADER = 32;

void *operator new(std::size_t size) {
    auto *block = static_cast<char *>(std::malloc(size + HEADER));
    if (!block)
        throw std::bad_alloc();
    live++;
    std::memcpy(block, "mine", 5);
    return block + HEADER;
}
void operator delete(void *object) noexcept {
    if (!object)
        return;
    auto *block = static_cast<char *>(object) - HEADER;
    CHECK(!std::strcmp(block, "mine"), "an object that this program did not make");
    live--;
    std::free(block);
}

struct Large {
    char bytes[1000];
    Large() { bytes[0] = 1; }
    ~Large() { bytes[0] = 2; }
};

int main() {
    int before = live;
    Large *one = opaque(new Large);
    Large *several = opaque(new Large[3]);
    Large *quiet = opaque(new (std::nothrow) Large);
    CHECK(live == before + 3, "%d objects are live", live - before);
    delete one;
    delete[] several;
    delete quiet;
    CHECK(live == before, "%d objects are live", live - before);

    void *object = ::operator new(100);
    ::operator delete(object, 100);
    object = ::operator new[](100);
    ::operator delete[](object, 100);
    object = ::operator new(100, std::nothrow);
    ::operator delete(object, std::nothrow);
    object = ::operator new[](100, std::nothrow);
    ::operator delete[](object, std::nothrow);
    CHECK(live == before, "%d objects are live", live - before);
    return finish();
}
