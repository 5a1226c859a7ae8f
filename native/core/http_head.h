// Heads of HTTP/1.1 messages in their plainest form, and nothing else: RFC 9112.
//
// Most requests that a proxy sees are a CONNECT or a GET without a body, with nothing in their heads that
// concerns the proxy but a Host and a Connection, and most answers are as plain. These are read here.
// Whatever else a head has is not understood here: the control plane reads it, by
// src/protocol/http-request.ts and http-response.ts. What is understood is written just as it is there, byte
// for byte; tests/native/heads.test.ts holds the two against each other.

#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "body.h"

namespace vsock_proxy {

// No longer ones are read.
constexpr size_t kPlainRequestBytes = 4 * 1024;
constexpr size_t kPlainResponseBytes = 16 * 1024;

// The lines of a head that go on to the other end, each with its CRLF: a few stretches of the head, for the
// lines that do not are few.
class Stretches {
 public:
  // Returns whether there was room for it.
  bool add(std::string_view line);
  void appendTo(std::string& text) const;

 private:
  std::array<std::string_view, 8> all_;
  size_t count_ = 0;
};

// The views are of the bytes that it was read from.
struct PlainRequest {
  bool tunnel = false;         // a CONNECT; otherwise a GET without a body
  std::string_view authority;  // host and port, as they stood
  std::string_view path;       // with the query; of a GET
  Stretches lines;             // of a GET
  bool keepAlive = true;       // the client's connection may carry another request after this one
  size_t bytes = 0;            // of the head
};

// The head that `bytes` begin with; nothing where it is not whole, or not plain.
std::optional<PlainRequest> readPlainRequest(std::string_view bytes);

// How a GET is written for the server.
struct RequestForm {
  bool absolute = false;  // as a proxy takes it: with the server in its first line
  std::string fields;     // further lines, each with its CRLF
};
std::string writeRequest(const PlainRequest& request, const RequestForm& form, bool close);

// To a GET. The views are of the bytes that it was read from.
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

// For a client whose connection stays open, or not.
std::string writeResponse(const PlainResponse& response, bool keepAlive);

}  // namespace vsock_proxy
