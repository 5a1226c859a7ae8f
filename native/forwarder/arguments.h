// Parses the command line of the forwarder.

#pragma once

#include <string>
#include <variant>
#include <vector>

#include "../core/loop.h"
#include "../core/socket.h"

namespace vsock_proxy {

// A checked command line that starts the forwarder.
struct Forward {
  Address on;
  Address to;
  uint32_t maxConnections = 1000;
  Micros connectTimeout = 10 * 1000 * 1000;
  Micros idleTimeout = Micros{3600} * 1000 * 1000;  // 0: no timeout
};

// Text for standard output.
struct Text {
  std::string text;
};

// Text for standard error, with its newline.
struct UsageError {
  std::string text;
};

using Invocation = std::variant<Forward, Text, UsageError>;

// `program` is its name, for texts. `words` are the arguments after it.
Invocation parseArguments(const std::string& program, const std::vector<std::string>& words,
                          const std::string& version);

}  // namespace vsock_proxy
