// What operator new does when memory is short: the new-handler is called
// until it helps, throws or is gone; then std::bad_alloc, or nullptr.
#include "cxx_check.h"

#include <initializer_list>
#include <sys/resource.h>

static int calls;
static void *reserve;

struct Given : std::bad_alloc {};

static void gives_back_a_reserve() {
    calls++;
    CHECK(calls == 1, "one call is enough");
    std::free(reserve);
    reserve = nullptr;
    malloc_trim(0);
}
static void gives_up_after_three() {
    if (++calls == 3)
        std::set_new_handler(nullptr);
}
static void throws() {
    calls++;
    throw Given();
}
static void installs_the_one_that_throws() {
    calls++;
    std::set_new_handler(throws);
}

// All the throwing and all the nothrow forms, asked for too much.
static void *throwing(int form, std::size_t size) {
    switch (form) {
    case 0: return ::operator new(size);
    case 1: return ::operator new[](size);
    case 2: return ::operator new(size, std::align_val_t{64});
    default: return ::operator new[](size, std::align_val_t{4096});
    }
}
static void *nothrow(int form, std::size_t size) {
    switch (form) {
    case 0: return ::operator new(size, std::nothrow);
    case 1: return ::operator new[](size, std::nothrow);
    case 2: return ::operator new(size, std::align_val_t{64}, std::nothrow);
    default: return ::operator new[](size, std::align_val_t{4096}, std::nothrow);
    }
}

template <typename Exception> static bool throws_exactly(int form, std::size_t size) {
    try {
        void *object = throwing(form, opaque(size));
        CHECK(false, "form %d gave %p", form, object);
    } catch (const Exception &) {
        return true;
    } catch (...) {
        return false;
    }
    return false;
}

static void without_a_handler(int form) {
    std::set_new_handler(nullptr);
    for (std::size_t size : {TOO_LARGE, SIZE_MAX, SIZE_MAX - 4095, std::size_t{PTRDIFF_MAX}}) {
        CHECK(throws_exactly<std::bad_alloc>(form, size), "form %d, size %zu", form, size);
        CHECK(!nothrow(form, opaque(size)), "form %d, size %zu", form, size);
    }
}

static void a_handler_that_throws(int form) {
    std::set_new_handler(throws);
    calls = 0;
    CHECK(throws_exactly<Given>(form, TOO_LARGE), "form %d", form);
    CHECK(calls == 1, "form %d: %d calls", form, calls);
    CHECK(!nothrow(form, opaque(TOO_LARGE)), "form %d", form);
    CHECK(calls == 2, "form %d: %d calls", form, calls);
}

static void a_handler_is_called_until_it_is_gone(int form) {
    std::set_new_handler(gives_up_after_three);
    calls = 0;
    CHECK(throws_exactly<std::bad_alloc>(form, TOO_LARGE), "form %d", form);
    CHECK(calls == 3, "form %d: %d calls", form, calls);
    std::set_new_handler(gives_up_after_three);
    calls = 0;
    CHECK(!nothrow(form, opaque(TOO_LARGE)), "form %d", form);
    CHECK(calls == 3, "form %d: %d calls", form, calls);
}

static void a_handler_may_install_another(int form) {
    std::set_new_handler(installs_the_one_that_throws);
    calls = 0;
    CHECK(throws_exactly<Given>(form, TOO_LARGE), "form %d", form);
    CHECK(calls == 2, "form %d: %d calls", form, calls);
}

static std::size_t address_space() {
    unsigned long pages = 0;
    std::FILE *file = std::fopen("/proc/self/statm", "r");
    CHECK(file && std::fscanf(file, "%lu", &pages) == 1, "statm");
    std::fclose(file);
    return pages * 4096;
}

// The address space is limited so that only the reserve's end makes room.
static void a_handler_that_frees_memory(int form) {
    rlimit old, limit;
    getrlimit(RLIMIT_AS, &old);
    reserve = std::malloc(512 * MIB);
    CHECK(reserve, "the reserve");
    limit = {address_space() + 100 * MIB, old.rlim_max};
    setrlimit(RLIMIT_AS, &limit);
    std::set_new_handler(gives_back_a_reserve);
    calls = 0;
    void *object = form < 4 ? throwing(form, 256 * MIB) : nothrow(form - 4, 256 * MIB);
    setrlimit(RLIMIT_AS, &old);
    CHECK(object && calls == 1, "form %d: %p after %d calls", form, object, calls);
    std::memset(object, 1, MIB);
    static_cast<char *>(object)[256 * MIB - 1] = 1;
    form % 4 < 2 ? ::operator delete(object)
                 : ::operator delete(object, std::align_val_t{form % 4 == 2 ? 64u : 4096u});
    malloc_trim(0);
}

int main() {
    for (int form = 0; form < 4; form++) {
        without_a_handler(form);
        a_handler_that_throws(form);
        a_handler_is_called_until_it_is_gone(form);
        a_handler_may_install_another(form);
    }
    for (int form = 0; form < 8; form++)
        a_handler_that_frees_memory(form);
    std::set_new_handler(nullptr);
    return finish();
}
