// SHA-256 (FIPS 180-4), to name a file by its contents. The contents are not secret.

#pragma once

#include <string>

namespace vsock_proxy {

// The digest of these bytes, in hexadecimal.
std::string sha256(const std::string& bytes);

}  // namespace vsock_proxy
