#include "values.h"

namespace vsock_proxy {
namespace {

const Failure kPending{"an exception is pending"};

}  // namespace

Value Values::keep(JSValue value) const {
  if (JS_IsException(value)) throw kPending;
  held().push_back(value);
  return value;
}

void Values::check(int outcome) const {
  if (outcome < 0) throw kPending;
}

Value Values::bytes(const std::string& bytes) const {
  Value buffer =
      keep(JS_NewArrayBufferCopy(context_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  Value arguments[] = {buffer, JS_UNDEFINED, JS_UNDEFINED};  // it always reads all three
  return keep(JS_NewTypedArray(context_, 3, arguments, JS_TYPED_ARRAY_UINT8));
}

Value Values::object(std::initializer_list<Property> properties) const {
  Value value = keep(JS_NewObject(context_));
  for (const Property& property : properties) set(value, property.first, property.second);
  return value;
}

void Values::set(Value object, const char* key, Value value) const {
  check(JS_SetPropertyStr(context_, object, key, JS_DupValue(context_, value)));
}

void Values::push(Value array, Value value) const {
  check(JS_SetPropertyUint32(context_, array, length(array), JS_DupValue(context_, value)));
}

void Values::call(Value function, Value argument) const {
  keep(JS_Call(context_, function, JS_UNDEFINED, 1, &argument));
}

double Values::toNumber(Value value) const {
  if (!JS_IsNumber(value)) throw Failure{"a number was expected"};
  double number = 0;
  check(JS_ToFloat64(context_, &number, value));
  return number;
}

bool Values::toBool(Value value) const {
  if (!JS_IsBool(value)) throw Failure{"a boolean was expected"};
  return JS_ToBool(context_, value) != 0;
}

std::string Values::toText(Value value) const {
  if (!JS_IsString(value)) throw Failure{"a string was expected"};
  size_t size = 0;
  const char* data = JS_ToCStringLen(context_, &size, value);
  if (data == nullptr) throw kPending;
  std::string text(data, size);
  JS_FreeCString(context_, data);
  return text;
}

std::string Values::toBytes(Value value) const {
  const View bytes = view(value);
  return {reinterpret_cast<char*>(bytes.data), bytes.size};
}

Values::View Values::view(Value value) const {
  size_t offset = 0;
  size_t size = 0;
  size_t bytesPerElement = 0;
  Value buffer = keep(JS_GetTypedArrayBuffer(context_, value, &offset, &size, &bytesPerElement));
  if (bytesPerElement != 1) throw Failure{"a Uint8Array was expected"};
  size_t capacity = 0;
  uint8_t* data = JS_GetArrayBuffer(context_, &capacity, buffer);
  if (data == nullptr && size > 0) throw kPending;
  return {data + offset, size};
}

uint32_t Values::length(Value array) const { return toInteger<uint32_t>(get(array, "length")); }

std::optional<Value> Values::find(Value object, const char* key) const {
  Value value = get(object, key);
  return JS_IsUndefined(value) ? std::nullopt : std::optional<Value>(value);
}

}  // namespace vsock_proxy
