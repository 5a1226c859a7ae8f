// The command line → what the forwarder is to do.

#pragma once

#include <string>
#include <variant>
#include <vector>

#include "../core/loop.h"
#include "../core/socket.h"

namespace vsock_proxy {

// What is to run, every value checked.
struct Forward {
  Address on;
  Address to;
  uint32_t maxConnections = 1000;
  Micros connectTimeout = 10 * 1000 * 1000;
  Micros idleTimeout = Micros{3600} * 1000 * 1000;  // 0: none
};

// To be printed on standard output.
struct Text {
  std::string text;
};

// For standard error, with its newline.
struct UsageError {
  std::string text;
};

using Invocation = std::variant<Forward, Text, UsageError>;

// `program`: as it was called, for its texts. `words`: what follows that.
Invocation parseArguments(const std::string& program, const std::vector<std::string>& words,
                          const std::string& version);

}  // namespace vsock_proxy
