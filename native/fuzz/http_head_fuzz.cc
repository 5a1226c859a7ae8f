// Plain heads under a coverage-guided fuzzer: `make fuzz`. What is read does not depend on what follows it,
// is not there before its last byte is, and reads the same once it has been written.

#include "../core/http_head.h"

#include <cstdint>
#include <cstdlib>

using namespace vsock_proxy;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

bool isOneHead(const std::string& head) {
  for (size_t at = 0; at < head.size(); ++at) {
    const auto byte = static_cast<unsigned char>(head[at]);
    if (byte == '\r'   ? head[at + 1] != '\n'
        : byte == '\n' ? head[at - 1] != '\r'
                       : byte < ' ' && byte != '\t') {
      return false;
    }
  }
  return head.find("\r\n\r\n") == head.size() - 4;
}

std::string linesOf(const Stretches& lines) {
  std::string text;
  lines.appendTo(text);
  return text;
}

void checkRequest(std::string_view bytes) {
  const auto request = readPlainRequest(bytes);
  if (!request) return;
  require(request->bytes <= bytes.size());
  require(!readPlainRequest(bytes.substr(0, request->bytes - 1)));
  const auto alone = readPlainRequest(bytes.substr(0, request->bytes));
  require(alone && alone->authority == request->authority && alone->path == request->path);
  if (request->tunnel) return;
  for (const bool close : {false, true}) {
    require(isOneHead(writeRequest(*request, {}, close)));
    const std::string written = writeRequest(*request, {true, ""}, close);
    require(isOneHead(written));
    const auto again = readPlainRequest(written);
    // It is some bytes longer, and may have become too long.
    if (!again) {
      require(written.size() > request->bytes);
      continue;
    }
    require(again->authority == request->authority && again->path == request->path);
    require(again->keepAlive == !close);
    require(linesOf(again->lines) == linesOf(request->lines) + "Via: 1.1 vsock-proxy\r\n");
  }
}

void checkResponse(std::string_view bytes) {
  const auto response = readPlainResponse(bytes);
  if (!response) return;
  require(response->bytes <= bytes.size());
  require(!readPlainResponse(bytes.substr(0, response->bytes - 1)));
  for (const bool keepAlive : {false, true}) {
    const std::string written = writeResponse(*response, keepAlive);
    require(isOneHead(written));
    const auto again = readPlainResponse(written);
    if (!again) {
      require(written.size() > response->bytes);
      continue;
    }
    require(again->status == response->status && again->start == response->start);
    require(again->keepAlive == keepAlive && again->chunked == response->chunked);
    require(again->body.mostToRead(SIZE_MAX) == response->body.mostToRead(SIZE_MAX));
    require(linesOf(again->lines) == linesOf(response->lines) + "Via: 1.1 vsock-proxy\r\n");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(bytes), size);
  checkRequest(text);
  checkResponse(text);
  return 0;
}
