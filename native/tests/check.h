// A small test framework: named cases, checks that print where they failed, bounded waits.

#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace check {

struct Case {
  std::string name;
  std::function<void()> body;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

struct Register {
  Register(const char* name, std::function<void()> body) { cases().push_back({name, std::move(body)}); }
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
  std::fflush(stderr);
  std::_Exit(1);
}

// Runs every case, or those whose name contains the first argument.
inline int run(int count, char** arguments) {
  const std::string wanted = count > 1 ? arguments[1] : "";
  int passed = 0;
  for (const Case& one : cases()) {
    if (one.name.find(wanted) == std::string::npos) continue;
    std::printf("%s\n", one.name.c_str());
    std::fflush(stdout);
    one.body();
    ++passed;
  }
  std::printf("%d passed\n", passed);
  return passed > 0 ? 0 : 1;
}

}  // namespace check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)
#define TEST(name)                                                                                   \
  static void CHECK_JOIN(testBody, __LINE__)();                                                      \
  static const check::Register CHECK_JOIN(testCase, __LINE__)(name, CHECK_JOIN(testBody, __LINE__)); \
  static void CHECK_JOIN(testBody, __LINE__)()

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) check::fail(__FILE__, __LINE__, "not true: " #condition); \
  } while (false)

#define CHECK_EQ(actual, expected)                                                                    \
  do {                                                                                                \
    const auto checkActual = (actual);                                                                \
    const auto checkExpected = (expected);                                                            \
    if (!(checkActual == checkExpected))                                                              \
      check::fail(__FILE__, __LINE__,                                                                 \
                  std::string(#actual " is ") + std::to_string(static_cast<long long>(checkActual)) + \
                      ", expected " + std::to_string(static_cast<long long>(checkExpected)));         \
  } while (false)

int main(int count, char** arguments) { return check::run(count, arguments); }
