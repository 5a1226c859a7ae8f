#include "values.h"

#include <algorithm>

namespace vsock_proxy {

void Values::fail(napi_status) const {
  const napi_extended_error_info* info = nullptr;
  const bool known = napi_get_last_error_info(env_, &info) == napi_ok && info->error_message != nullptr;
  throw Failure{known ? info->error_message : "Node-API failed"};
}

napi_value Values::undefined() const {
  napi_value value;
  check(napi_get_undefined(env_, &value));
  return value;
}

napi_value Values::number(double number) const {
  napi_value value;
  check(napi_create_double(env_, number, &value));
  return value;
}

napi_value Values::boolean(bool flag) const {
  napi_value value;
  check(napi_get_boolean(env_, flag, &value));
  return value;
}

napi_value Values::text(const char* text, size_t size) const {
  napi_value value;
  check(napi_create_string_utf8(env_, text, size, &value));
  return value;
}

napi_value Values::bytes(const std::string& bytes) const {
  void* data = nullptr;
  napi_value buffer;
  check(napi_create_arraybuffer(env_, bytes.size(), &data, &buffer));
  std::copy(bytes.begin(), bytes.end(), static_cast<char*>(data));
  napi_value array;
  check(napi_create_typedarray(env_, napi_uint8_array, bytes.size(), buffer, 0, &array));
  return array;
}

napi_value Values::object(std::initializer_list<Property> properties) const {
  napi_value value;
  check(napi_create_object(env_, &value));
  for (const Property& property : properties) set(value, property.first, property.second);
  return value;
}

napi_value Values::array() const {
  napi_value value;
  check(napi_create_array(env_, &value));
  return value;
}

void Values::set(napi_value object, const char* key, napi_value value) const {
  check(napi_set_named_property(env_, object, key, value));
}

void Values::push(napi_value array, napi_value value) const {
  check(napi_set_element(env_, array, length(array), value));
}

double Values::toNumber(napi_value value) const {
  double number = 0;
  check(napi_get_value_double(env_, value, &number));
  return number;
}

bool Values::toBool(napi_value value) const {
  bool flag = false;
  check(napi_get_value_bool(env_, value, &flag));
  return flag;
}

std::string Values::toText(napi_value value) const {
  size_t size = 0;
  check(napi_get_value_string_utf8(env_, value, nullptr, 0, &size));
  std::string text(size, '\0');
  check(napi_get_value_string_utf8(env_, value, text.data(), size + 1, &size));
  return text;
}

std::string Values::toBytes(napi_value value) const {
  napi_typedarray_type type;
  size_t size = 0;
  void* data = nullptr;
  check(napi_get_typedarray_info(env_, value, &type, &size, &data, nullptr, nullptr));
  if (type != napi_uint8_array) throw Failure{"a Uint8Array was expected"};
  return {static_cast<const char*>(data), size};
}

uint32_t Values::length(napi_value array) const {
  uint32_t length = 0;
  check(napi_get_array_length(env_, array, &length));
  return length;
}

napi_value Values::at(napi_value array, uint32_t index) const {
  napi_value value;
  check(napi_get_element(env_, array, index, &value));
  return value;
}

napi_value Values::get(napi_value object, const char* key) const {
  napi_value value;
  check(napi_get_named_property(env_, object, key, &value));
  return value;
}

std::optional<napi_value> Values::find(napi_value object, const char* key) const {
  napi_value value = get(object, key);
  napi_valuetype type;
  check(napi_typeof(env_, value, &type));
  return type == napi_undefined ? std::nullopt : std::optional<napi_value>(value);
}

}  // namespace vsock_proxy
