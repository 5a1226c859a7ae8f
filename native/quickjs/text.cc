#include "text.h"

namespace vsock_proxy {
namespace {

unsigned byteAt(std::string_view bytes, size_t at) {
  return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0;
}

struct Sequence {
  size_t bytes;  // at least 1
  bool wellFormed;
};

// The first character, or its available part: table 3-7 of the Unicode standard.
Sequence firstOf(std::string_view bytes) {
  const unsigned lead = byteAt(bytes, 0);
  if (lead < 0x80) return {1, true};
  if (lead < 0xc2 || lead > 0xf4) return {1, false};
  const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  unsigned least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t at = 1; at < length; ++at) {
    if (byteAt(bytes, at) < least || byteAt(bytes, at) > most) return {at, false};
    least = 0x80;
    most = 0xbf;
  }
  return {length, true};
}

}  // namespace

size_t wellFormedPrefix(std::string_view bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Sequence one = firstOf(bytes.substr(at));
    if (!one.wellFormed) return at;
    at += one.bytes;
  }
  return at;
}

std::string replaceMalformed(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t good = wellFormedPrefix(bytes);
    text += bytes.substr(0, good);
    bytes.remove_prefix(good);
    if (bytes.empty()) break;
    text += "\xef\xbf\xbd";
    bytes.remove_prefix(firstOf(bytes).bytes);
  }
  return text;
}

std::string fromLatin1(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (const char byte : bytes) {
    const auto code = static_cast<unsigned char>(byte);
    if (code < 0x80) {
      text += byte;
    } else {
      text += static_cast<char>(0xc0 | code >> 6);
      text += static_cast<char>(0x80 | (code & 0x3f));
    }
  }
  return text;
}

std::string toLatin1(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const unsigned lead = byteAt(text, at);
    const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const unsigned last = byteAt(text, at + length - 1);
    const unsigned before = length == 1 ? 0 : byteAt(text, at + length - 2);
    bytes += static_cast<char>(length == 1 ? last : ((before & 0x3f) << 6 | (last & 0x3f)) & 0xff);
    at += length;
  }
  return bytes;
}

}  // namespace vsock_proxy
