// Bytes as text, and text as bytes.

#pragma once

#include <string>
#include <string_view>

namespace vsock_proxy {

// How many bytes at the beginning are valid UTF-8.
size_t wellFormedPrefix(std::string_view bytes);
// Replaces each invalid part by U+FFFD, as the Encoding standard says.
std::string replaceMalformed(std::string_view bytes);
// The UTF-8 of a text whose characters are these bytes.
std::string fromLatin1(std::string_view bytes);
// The lowest eight bits of each character of a text in UTF-8.
std::string toLatin1(std::string_view text);

}  // namespace vsock_proxy
