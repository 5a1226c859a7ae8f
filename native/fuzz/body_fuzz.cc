// Chunked bodies under a coverage-guided fuzzer: `make fuzz`. However a text is cut, the same bytes of it
// belong to the body, and it ends in the same way.

#include <cstdint>
#include <cstdlib>

#include "../core/body.h"

using namespace vsock_proxy;

namespace {

struct Taken {
  size_t bytes = 0;
  bool done = false;
  bool malformed = false;
  bool operator==(const Taken& other) const {
    return bytes == other.bytes && done == other.done && malformed == other.malformed;
  }
};

Taken take(const char* data, size_t size, size_t step) {
  Body body = Body::chunked();
  size_t at = 0;
  while (at < size && !body.done() && !body.malformed()) {
    const size_t part = step < size - at ? step : size - at;
    const size_t taken = body.take(data + at, part);
    if (taken > part || (taken < part && !body.done() && !body.malformed())) std::abort();
    at += taken;
  }
  return {at, body.done(), body.malformed()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size == 0) return 0;
  const auto* data = reinterpret_cast<const char*>(bytes);
  const Taken whole = take(data, size, size);
  if (!(take(data, size, 1) == whole)) std::abort();
  if (!(take(data, size, 1 + bytes[0] % 7) == whole)) std::abort();
  return 0;
}
