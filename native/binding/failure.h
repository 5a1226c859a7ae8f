// The exception that ends a call from JavaScript, or to it, in any engine.

#pragma once

#include <limits>
#include <string>

namespace vsock_proxy {

// The call cannot go on. The engine may have a pending exception; otherwise `what` becomes one. Only
// `guarded` catches it.
struct Failure {
  std::string what;
};

// Throws Failure if the value is not such a number.
template <class Integer>
Integer inRange(double number) {
  using Limits = std::numeric_limits<Integer>;
  // A double holds integers up to 2^53 - 1 exactly, and no larger number makes sense here.
  constexpr double kMost = Limits::digits > 53 ? 9007199254740991.0 : static_cast<double>(Limits::max());
  constexpr double kLeast = Limits::is_signed ? -kMost - (Limits::digits > 53 ? 0 : 1) : 0;
  if (!(number >= kLeast && number <= kMost)) throw Failure{"a number is out of range"};
  return static_cast<Integer>(number);
}

}  // namespace vsock_proxy
