// Why the forwarder cannot listen, or a client could not be served, and what to do about it.

#pragma once

#include <optional>
#include <string>

#include "../core/messages.h"
#include "arguments.h"

namespace vsock_proxy {

struct Failure {
  std::string problem;
  std::string hint;  // empty: none

  // `problem. Hint: …`
  std::string line() const { return hint.empty() ? problem : problem + ". Hint: " + hint; }
};

Failure describeBindFailure(const Address& on, int error);
// None where the connection came about, and then ended in one way or another.
std::optional<Failure> findFailure(const CloseRecord& record, const Forward& forward);
Failure describeAcceptFailure(const Address& on, int error);

}  // namespace vsock_proxy
