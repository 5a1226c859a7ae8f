// Parses plain HTTP/1.1 heads: RFC 9112.
//
// Most requests to a proxy are a CONNECT or a GET without a body, with no fields for the proxy but Host and
// Connection, and most responses are as plain. These heads are parsed here. The control plane parses all
// others, by src/protocol/http-request.ts and http-response.ts. A plain head is rewritten here exactly as
// there, byte for byte; tests/native/heads.test.ts compares the two.

#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "body.h"

namespace vsock_proxy {

// Longer heads are not parsed.
constexpr size_t kPlainRequestBytes = 4 * 1024;
constexpr size_t kPlainResponseBytes = 16 * 1024;

// The lines of a head for the other end, each with its CRLF. They are few stretches of the head, because
// few lines are removed.
class Stretches {
 public:
  // Returns whether there was room for it.
  bool add(std::string_view line);
  void appendTo(std::string& text) const;

 private:
  std::array<std::string_view, 8> all_;
  size_t count_ = 0;
};

// The views point into the parsed bytes.
struct PlainRequest {
  bool tunnel = false;         // a CONNECT; otherwise a GET without a body
  std::string_view authority;  // host and port, as they were written
  std::string_view path;       // with the query; for a GET
  Stretches lines;             // for a GET
  bool keepAlive = true;       // the client's connection may carry another request after this one
  size_t bytes = 0;            // of the head
};

// The head at the beginning of `bytes`; nothing if it is incomplete, or not plain.
std::optional<PlainRequest> readPlainRequest(std::string_view bytes);

// How a GET is written for the server.
struct RequestForm {
  bool absolute = false;  // for a proxy, with the server in the first line
  std::string fields;     // further lines, each with its CRLF
};
std::string writeRequest(const PlainRequest& request, const RequestForm& form, bool close);

// The response to a GET. The views point into the parsed bytes.
struct PlainResponse {
  unsigned status = 0;
  std::string_view start;  // status and reason phrase
  Stretches lines;
  Body body = Body::none();
  bool chunked = false;
  bool keepAlive = true;  // the server's connection may carry another request after this one
  size_t bytes = 0;       // of the head
};

std::optional<PlainResponse> readPlainResponse(std::string_view bytes);

// For a client whose connection stays open, or does not.
std::string writeResponse(const PlainResponse& response, bool keepAlive);

}  // namespace vsock_proxy
