// Bytes as text, and text as bytes.

#pragma once

#include <string>
#include <string_view>

namespace vsock_proxy {

// How many bytes at the beginning are UTF-8.
size_t wellFormedPrefix(std::string_view bytes);
// With U+FFFD for each part that is no UTF-8, cut as the Encoding standard has it.
std::string replaceMalformed(std::string_view bytes);
// UTF-8 of a text whose characters are these bytes.
std::string fromLatin1(std::string_view bytes);
// The last eight bits of each character of a text in UTF-8.
std::string toLatin1(std::string_view text);

}  // namespace vsock_proxy
