#include "values.h"

#include <algorithm>

namespace vsock_proxy {

void Values::fail(napi_status) const {
  const napi_extended_error_info* info = nullptr;
  const bool known = napi_get_last_error_info(env_, &info) == napi_ok && info->error_message != nullptr;
  throw Failure{known ? info->error_message : "Node-API failed"};
}

Value Values::undefined() const {
  Value value;
  check(napi_get_undefined(env_, &value));
  return value;
}

Value Values::number(double number) const {
  Value value;
  check(napi_create_double(env_, number, &value));
  return value;
}

Value Values::boolean(bool flag) const {
  Value value;
  check(napi_get_boolean(env_, flag, &value));
  return value;
}

Value Values::text(const char* text, size_t size) const {
  Value value;
  check(napi_create_string_utf8(env_, text, size, &value));
  return value;
}

Value Values::bytes(const std::string& bytes) const {
  void* data = nullptr;
  Value buffer;
  check(napi_create_arraybuffer(env_, bytes.size(), &data, &buffer));
  std::copy(bytes.begin(), bytes.end(), static_cast<char*>(data));
  Value array;
  check(napi_create_typedarray(env_, napi_uint8_array, bytes.size(), buffer, 0, &array));
  return array;
}

Value Values::object(std::initializer_list<Property> properties) const {
  Value value;
  check(napi_create_object(env_, &value));
  for (const Property& property : properties) set(value, property.first, property.second);
  return value;
}

Value Values::array() const {
  Value value;
  check(napi_create_array(env_, &value));
  return value;
}

void Values::set(Value object, const char* key, Value value) const {
  check(napi_set_named_property(env_, object, key, value));
}

void Values::push(Value array, Value value) const {
  check(napi_set_element(env_, array, length(array), value));
}

void Values::call(Value function, Value argument) const {
  check(napi_call_function(env_, undefined(), function, 1, &argument, nullptr));
}

double Values::toNumber(Value value) const {
  double number = 0;
  check(napi_get_value_double(env_, value, &number));
  return number;
}

bool Values::toBool(Value value) const {
  bool flag = false;
  check(napi_get_value_bool(env_, value, &flag));
  return flag;
}

std::string Values::toText(Value value) const {
  size_t size = 0;
  check(napi_get_value_string_utf8(env_, value, nullptr, 0, &size));
  std::string text(size, '\0');
  check(napi_get_value_string_utf8(env_, value, text.data(), size + 1, &size));
  return text;
}

std::string Values::toBytes(Value value) const {
  napi_typedarray_type type;
  size_t size = 0;
  void* data = nullptr;
  check(napi_get_typedarray_info(env_, value, &type, &size, &data, nullptr, nullptr));
  if (type != napi_uint8_array) throw Failure{"a Uint8Array was expected"};
  return {static_cast<const char*>(data), size};
}

uint32_t Values::length(Value array) const {
  uint32_t length = 0;
  check(napi_get_array_length(env_, array, &length));
  return length;
}

Value Values::at(Value array, uint32_t index) const {
  Value value;
  check(napi_get_element(env_, array, index, &value));
  return value;
}

Value Values::get(Value object, const char* key) const {
  Value value;
  check(napi_get_named_property(env_, object, key, &value));
  return value;
}

std::optional<Value> Values::find(Value object, const char* key) const {
  Value value = get(object, key);
  napi_valuetype type;
  check(napi_typeof(env_, value, &type));
  return type == napi_undefined ? std::nullopt : std::optional<Value>(value);
}

}  // namespace vsock_proxy
