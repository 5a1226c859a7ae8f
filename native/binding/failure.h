// What ends a call from JavaScript, or to it, whatever the engine is.

#pragma once

#include <limits>
#include <string>

namespace vsock_proxy {

// The call cannot go on. The engine may have left an exception; otherwise `what` is to be one. Caught by
// `guarded`, and nowhere else.
struct Failure {
  std::string what;
};

// Throws Failure for what is no such number.
template <class Integer>
Integer inRange(double number) {
  using Limits = std::numeric_limits<Integer>;
  // A double holds 2^53 - 1 exactly, and no larger number is ever meant.
  constexpr double kMost = Limits::digits > 53 ? 9007199254740991.0 : static_cast<double>(Limits::max());
  constexpr double kLeast = Limits::is_signed ? -kMost - (Limits::digits > 53 ? 0 : 1) : 0;
  if (!(number >= kLeast && number <= kMost)) throw Failure{"a number is out of range"};
  return static_cast<Integer>(number);
}

}  // namespace vsock_proxy
