// JavaScript values, by calls of QuickJS whose results are checked. native/node has the same class.

#pragma once

#include <quickjs.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../binding/failure.h"

namespace vsock_proxy {

// Valid until the end of the scope in which it was made. The engine counts references, and the scope holds
// one.
using Value = JSValue;

class Values {
 public:
  using Property = std::pair<const char*, Value>;

  // The references that all scopes of a context hold. It is the opaque value of the context.
  using Held = std::vector<JSValue>;

  // Values that are made during its life end with it.
  class Scope {
   public:
    explicit Scope(const Values& js) : js_(js), begin_(js.held().size()) {}
    ~Scope() {
      Held& held = js_.held();
      for (; held.size() > begin_; held.pop_back()) JS_FreeValue(js_.context(), held.back());
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    const Values& js_;
    const size_t begin_;
  };

  explicit Values(JSContext* context) : context_(context) {}

  JSContext* context() const { return context_; }
  Held& held() const { return *static_cast<Held*>(JS_GetContextOpaque(context_)); }
  // Takes over the reference. Throws Failure if the engine has a pending exception.
  Value keep(JSValue value) const;

  Value undefined() const { return JS_UNDEFINED; }
  Value number(double number) const { return JS_NewFloat64(context_, number); }
  template <class Integer>
  Value integer(Integer number) const {
    return JS_NewInt64(context_, static_cast<int64_t>(number));
  }
  Value boolean(bool flag) const { return JS_NewBool(context_, flag); }
  Value text(const std::string& text) const {
    return keep(JS_NewStringLen(context_, text.data(), text.size()));
  }
  // A Uint8Array.
  Value bytes(const std::string& bytes) const;
  Value object(std::initializer_list<Property> properties = {}) const;
  Value array() const { return keep(JS_NewArray(context_)); }
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
  struct View {
    uint8_t* data;
    size_t size;
  };
  // The memory of a Uint8Array, valid until it is freed.
  View view(Value value) const;
  uint32_t length(Value array) const;
  Value at(Value array, uint32_t index) const { return keep(JS_GetPropertyUint32(context_, array, index)); }
  Value get(Value object, const char* key) const { return keep(JS_GetPropertyStr(context_, object, key)); }
  // Nothing if the property is absent or undefined.
  std::optional<Value> find(Value object, const char* key) const;

 private:
  void check(int outcome) const;

  JSContext* context_;
};

// Runs a body that may throw Failure, and turns that into a JavaScript exception. The caller owns the
// result.
template <class Body>
JSValue guarded(JSContext* context, const Body& body) {
  try {
    const Values js(context);
    const Values::Scope scope(js);
    return JS_DupValue(context, body());
  } catch (const Failure& failure) {
    if (JS_HasException(context)) return JS_EXCEPTION;
    return JS_ThrowInternalError(context, "%s", failure.what.c_str());
  }
}

}  // namespace vsock_proxy
