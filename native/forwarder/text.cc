#include "text.h"

#include <cstdio>

namespace vsock_proxy {
namespace {

constexpr size_t kBriefly = 80;

std::string ipAndPort(const Address& address) {
  const std::string ip = address.ip();
  const std::string port = ":" + std::to_string(address.port());
  return address.family() == AF_INET6 ? "[" + ip + "]" + port : ip + port;
}

// Rounds to tenths; `part` is the number of microseconds in a tenth.
std::string tenths(int64_t micros, int64_t part) {
  const int64_t number = (micros + part / 2) / part;
  return std::to_string(number / 10) + "." + std::to_string(number % 10);
}

}  // namespace

std::string escape(std::string_view text) {
  std::string escaped;
  for (const char byte : text) {
    if (byte >= ' ' && byte <= '~') {
      escaped += byte;
    } else {
      char code[8];
      std::snprintf(code, sizeof code, "\\u{%x}", static_cast<unsigned char>(byte));
      escaped += code;
    }
  }
  return escaped;
}

std::string quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char byte : text) {
    if (byte == '"' || byte == '\\') quoted += '\\';
    quoted += byte;
  }
  return quoted + '"';
}

std::string escapeBriefly(std::string_view text) {
  return escape(text.substr(0, kBriefly)) + (text.size() > kBriefly ? "…" : "");
}

std::string quoteBriefly(std::string_view text) { return '"' + escapeBriefly(text) + '"'; }

std::string describe(const Address& address) {
  switch (address.family()) {
    case AF_VSOCK:
      return "cid: " + std::to_string(address.cid()) + " port: " + std::to_string(address.port());
    case AF_UNIX:
      return "unix: " + escape(address.path());
    default:
      return "tcp: " + ipAndPort(address);
  }
}

std::string describeServer(const Address& server) {
  return server.isTcp() ? ipAndPort(server) : describe(server);
}

std::string nameErrno(int error) {
  const char* name = strerrorname_np(error);
  return name == nullptr ? "error " + std::to_string(error) : name;
}

std::string describeErrno(int error) {
  const std::string name = nameErrno(error);
  const char* words = strerrordesc_np(error);
  if (words == nullptr) return name;
  std::string text = name + ": " + words;
  char& first = text[name.size() + 2];
  if (first >= 'A' && first <= 'Z') first = static_cast<char>(first - 'A' + 'a');
  return text;
}

std::string count(uint64_t number, std::string_view noun) {
  return std::to_string(number) + " " + std::string(noun) + (number == 1 ? "" : "s");
}

std::string seconds(Micros micros) { return tenths(micros, 100'000) + " s"; }
std::string milliseconds(Micros micros) { return tenths(micros, 100); }

}  // namespace vsock_proxy
