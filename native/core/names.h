// Enumerations whose values have names, which logs show and src/dataplane/contract.ts has. Each value is
// listed once, with its name, in a list of this form. Everything else is made from that list.
//
//   #define VSOCK_PROXY_PARTIES(X) X(Client, "client") X(Server, "server")
//   NAMED_ENUM(Party, VSOCK_PROXY_PARTIES)
//
// The order of the values has no meaning. Compare them only with ==.

#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

namespace vsock_proxy {

template <class Enum>
struct NamesOf;

#define NAMED_ENUM_VALUE(value, name) value,
#define NAMED_ENUM_NAME(value, name) name,
#define NAMED_ENUM(Enum, LIST)                                     \
  enum class Enum : uint8_t { LIST(NAMED_ENUM_VALUE) };            \
  template <>                                                      \
  struct NamesOf<Enum> {                                           \
    static constexpr const char* kAll[] = {LIST(NAMED_ENUM_NAME)}; \
  };

// The number of values.
template <class Enum>
constexpr size_t countOf() {
  return std::size(NamesOf<Enum>::kAll);
}

template <class Enum>
constexpr const char* nameOf(Enum value) {
  return NamesOf<Enum>::kAll[static_cast<size_t>(value)];
}

// The value with this name, if there is one.
template <class Enum>
std::optional<Enum> named(std::string_view name) {
  for (size_t i = 0; i < countOf<Enum>(); ++i) {
    if (name == NamesOf<Enum>::kAll[i]) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace vsock_proxy
