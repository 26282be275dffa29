// The standard containers at work, on one thread and on four, and exceptions
// that pass through many frames with objects to destroy.
#include "cxx_check.h"

#include <deque>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <memory_resource>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

static std::string text(int number) {
    return "number " + std::to_string(number) + std::string(number % 300, 'x');
}

static void maps(int count) {
    std::map<std::string, std::vector<int>> ordered;
    std::unordered_map<int, std::string> hashed;
    for (int i = 0; i < count; i++) {
        ordered[text(i % 500)].push_back(i);
        hashed[i] = text(i);
        if (i % 3 == 0)
            hashed.erase(i / 3);
    }
    for (auto &[number, string] : hashed)
        CHECK(string == text(number), "number %d", number);
    std::size_t total = 0;
    for (auto &[string, numbers] : ordered) {
        for (int number : numbers)
            CHECK(text(number % 500) == string, "number %d", number);
        total += numbers.size();
    }
    CHECK(total == (std::size_t)count, "%zu of %d", total, count);
}

static void sequences(int count) {
    std::deque<std::unique_ptr<std::string>> queue;
    std::list<std::shared_ptr<int>> list;
    std::vector<std::string> strings;
    for (int i = 0; i < count; i++) {
        queue.push_back(std::make_unique<std::string>(text(i)));
        list.push_front(std::make_shared<int>(i));
        strings.push_back(text(i));
        if (queue.size() > 100) {
            CHECK(*queue.front() == text(i - 100), "queue at %d", i);
            queue.pop_front();
        }
    }
    int expected = count;
    for (auto &number : list)
        CHECK(*number == --expected, "list at %d", expected);
    strings.erase(strings.begin(), strings.begin() + count / 2);
    strings.shrink_to_fit();
    for (int i = count / 2; i < count; i++)
        CHECK(strings[i - count / 2] == text(i), "strings at %d", i);
}

static void streams_and_patterns(int count) {
    std::ostringstream out;
    for (int i = 0; i < count; i++)
        out << "key" << i << '=' << i * 7 << ';';
    std::string all = out.str();
    std::regex pattern("key([0-9]+)=([0-9]+);");
    int found = 0;
    for (std::sregex_iterator match(all.begin(), all.end(), pattern), end; match != end; ++match) {
        CHECK(std::stoi((*match)[1]) * 7 == std::stoi((*match)[2]), "match %d", found);
        found++;
    }
    CHECK(found == count, "%d of %d", found, count);
}

static void memory_resources() {
    std::pmr::unsynchronized_pool_resource pool;
    std::pmr::vector<std::pmr::string> strings(&pool);
    for (int i = 0; i < 2000; i++)
        strings.emplace_back(text(i));
    for (int i = 0; i < 2000; i++)
        CHECK(text(i) == strings[i].c_str(), "string %d", i);
}

struct Counted {
    static thread_local int live;
    std::vector<int> numbers;
    explicit Counted(int count) : numbers(count, count) { live++; }
    ~Counted() {
        CHECK(numbers.empty() || numbers.back() == (int)numbers.size(), "numbers");
        live--;
    }
};
thread_local int Counted::live;

static int deep(int depth) {
    Counted counted(depth);
    auto *more = new Counted(depth / 2);
    std::unique_ptr<Counted> owned(more);
    if (depth == 0)
        throw std::runtime_error(text(250));
    return deep(depth - 1) + counted.numbers.size();
}

static void exceptions_pass_many_frames() {
    for (int round = 0; round < 20; round++) {
        try {
            deep(opaque(200));
            CHECK(false, "deep() returned");
        } catch (const std::runtime_error &error) {
            CHECK(error.what() == text(250), "what() is %s", error.what());
        }
        CHECK(Counted::live == 0, "%d objects are live", Counted::live);
    }
    std::exception_ptr held;
    try {
        std::vector<char> huge(opaque(TOO_LARGE));
    } catch (...) {
        held = std::current_exception();
    }
    try {
        std::rethrow_exception(held);
    } catch (const std::bad_alloc &) {
        return;
    }
    CHECK(false, "std::bad_alloc is thrown again");
}

static void work(int count) {
    maps(count);
    sequences(count);
    exceptions_pass_many_frames();
}

int main() {
    work(5000);
    streams_and_patterns(500);
    memory_resources();
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back(work, 3000);
    for (auto &thread : threads)
        thread.join();
    std::vector<std::future<std::string>> futures;
    for (int i = 0; i < 20; i++)
        futures.push_back(std::async(std::launch::async, text, i * 13));
    for (int i = 0; i < 20; i++)
        CHECK(futures[i].get() == text(i * 13), "future %d", i);
    return finish();
}
