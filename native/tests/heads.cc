// Reads heads from standard input and prints what native/core/http_head.h makes of each: for
// tests/native/heads.test.ts, which compares it with the parsers of the control plane.
//
// Input: `q` (a request) or `s` (a response), the number of bytes as 4 bytes (the lowest first), and the
// bytes. Output: a line for each; `-` where the head is not plain.

#include <cstdio>
#include <string>

#include "../core/http_head.h"

using namespace vsock_proxy;

namespace {

void printHex(std::string_view text) {
  std::putchar(' ');
  for (const char byte : text) std::printf("%02x", static_cast<unsigned char>(byte));
}

void showRequest(std::string_view bytes) {
  const auto request = readPlainRequest(bytes);
  if (!request) return static_cast<void>(std::putchar('-'));
  std::printf("%s %zu %d", request->tunnel ? "tunnel" : "get", request->bytes, request->keepAlive);
  printHex(request->authority);
  if (request->tunnel) return;
  printHex(writeRequest(*request, {}, !request->keepAlive));
  printHex(writeRequest(*request, {true, "X-Own: 1\r\n"}, !request->keepAlive));
}

void showResponse(std::string_view bytes) {
  const auto response = readPlainResponse(bytes);
  if (!response) return static_cast<void>(std::putchar('-'));
  const size_t length = response->body.done() ? 0 : response->body.mostToRead(SIZE_MAX);
  std::printf("%u %zu %d %s", response->status, response->bytes, response->keepAlive,
              response->chunked ? "chunked" : std::to_string(length).c_str());
  printHex(writeResponse(*response, true));
  printHex(writeResponse(*response, false));
}

}  // namespace

int main() {
  unsigned char start[5];
  while (std::fread(start, 1, sizeof start, stdin) == sizeof start) {
    size_t size = 0;
    for (int i = 4; i > 0; --i) size = size << 8 | start[i];
    // The buffer has exactly this size, so that a sanitizer sees a read beyond its end.
    const std::string bytes = [size] {
      std::string all(size, '\0');
      return std::fread(all.data(), 1, size, stdin) == size ? all : std::string();
    }();
    start[0] == 'q' ? showRequest(bytes) : showResponse(bytes);
    std::putchar('\n');
  }
  return 0;
}
