// JavaScript values, by calls of Node-API whose status is checked.

#pragma once

#include <node_api.h>

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace vsock_proxy {

// A call from JavaScript, or to it, cannot go on. Node-API may have left an exception; otherwise `what` is to
// be one. Caught by `guarded`, and nowhere else.
struct Failure {
  std::string what;
};

class Values {
 public:
  using Property = std::pair<const char*, napi_value>;

  explicit Values(napi_env env) : env_(env) {}

  napi_env env() const { return env_; }
  // Throws Failure unless all is well.
  void check(napi_status status) const {
    if (status != napi_ok) fail(status);
  }

  napi_value undefined() const;
  napi_value number(double number) const;
  template <class Integer>
  napi_value integer(Integer number) const {
    return this->number(static_cast<double>(number));
  }
  napi_value boolean(bool flag) const;
  napi_value text(const char* text, size_t size = NAPI_AUTO_LENGTH) const;
  napi_value text(const std::string& text) const { return this->text(text.data(), text.size()); }
  // A Uint8Array.
  napi_value bytes(const std::string& bytes) const;
  napi_value object(std::initializer_list<Property> properties = {}) const;
  napi_value array() const;
  void set(napi_value object, const char* key, napi_value value) const;
  void push(napi_value array, napi_value value) const;

  // Each throws Failure for a value of another type, or out of range.
  double toNumber(napi_value value) const;
  template <class Integer>
  Integer toInteger(napi_value value) const {
    const double number = toNumber(value);
    using Limits = std::numeric_limits<Integer>;
    // A double holds 2^53 - 1 exactly, and no larger number is ever meant.
    constexpr double kMost = Limits::digits > 53 ? 9007199254740991.0 : static_cast<double>(Limits::max());
    constexpr double kLeast = Limits::is_signed ? -kMost - (Limits::digits > 53 ? 0 : 1) : 0;
    if (!(number >= kLeast && number <= kMost)) throw Failure{"a number is out of range"};
    return static_cast<Integer>(number);
  }
  bool toBool(napi_value value) const;
  std::string toText(napi_value value) const;
  // Of a Uint8Array.
  std::string toBytes(napi_value value) const;
  uint32_t length(napi_value array) const;
  napi_value at(napi_value array, uint32_t index) const;
  napi_value get(napi_value object, const char* key) const;
  // Nothing where the property is absent or undefined.
  std::optional<napi_value> find(napi_value object, const char* key) const;

 private:
  [[noreturn]] void fail(napi_status status) const;

  napi_env env_;
};

// Runs a body that may throw Failure; if it does, JavaScript finds the exception. Returns null then.
template <class Body>
napi_value guarded(napi_env env, const Body& body) {
  try {
    return body();
  } catch (const Failure& failure) {
    bool pending = false;
    if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) {
      napi_throw_error(env, nullptr, failure.what.c_str());
    }
    return nullptr;
  }
}

}  // namespace vsock_proxy
