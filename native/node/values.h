// JavaScript values, by calls of Node-API whose status is checked.

#pragma once

#include <node_api.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../binding/failure.h"

namespace vsock_proxy {

using Value = napi_value;

class Values {
 public:
  using Property = std::pair<const char*, Value>;

  // Values that are made during its life end with it.
  class Scope {
   public:
    explicit Scope(const Values& js) : js_(js) { js.check(napi_open_handle_scope(js.env(), &scope_)); }
    ~Scope() { napi_close_handle_scope(js_.env(), scope_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    const Values& js_;
    napi_handle_scope scope_ = nullptr;
  };

  explicit Values(napi_env env) : env_(env) {}

  napi_env env() const { return env_; }
  // Throws Failure unless the status is ok.
  void check(napi_status status) const {
    if (status != napi_ok) fail(status);
  }

  Value undefined() const;
  Value number(double number) const;
  template <class Integer>
  Value integer(Integer number) const {
    return this->number(static_cast<double>(number));
  }
  Value boolean(bool flag) const;
  Value text(const char* text, size_t size = NAPI_AUTO_LENGTH) const;
  Value text(const std::string& text) const { return this->text(text.data(), text.size()); }
  // A Uint8Array.
  Value bytes(const std::string& bytes) const;
  Value object(std::initializer_list<Property> properties = {}) const;
  Value array() const;
  void set(Value object, const char* key, Value value) const;
  void push(Value array, Value value) const;
  // Calls the function without `this`.
  void call(Value function, Value argument) const;

  // Each of these throws Failure if the value has another type or is out of range.
  double toNumber(Value value) const;
  template <class Integer>
  Integer toInteger(Value value) const {
    return inRange<Integer>(toNumber(value));
  }
  bool toBool(Value value) const;
  std::string toText(Value value) const;
  // The bytes of a Uint8Array.
  std::string toBytes(Value value) const;
  uint32_t length(Value array) const;
  Value at(Value array, uint32_t index) const;
  Value get(Value object, const char* key) const;
  // Nothing if the property is absent or undefined.
  std::optional<Value> find(Value object, const char* key) const;

 private:
  [[noreturn]] void fail(napi_status status) const;

  napi_env env_;
};

// Runs a body that may throw Failure, and turns that into a JavaScript exception. Returns null then.
template <class Body>
Value guarded(napi_env env, const Body& body) {
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
