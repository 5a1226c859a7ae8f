// Why the forwarder cannot listen, or could not serve a client, with a hint.

#pragma once

#include <optional>
#include <string>

#include "../core/messages.h"
#include "arguments.h"

namespace vsock_proxy {

struct Failure {
  std::string problem;
  std::string hint;  // empty if there is none

  // `problem. Hint: …`
  std::string line() const { return hint.empty() ? problem : problem + ". Hint: " + hint; }
};

Failure describeBindFailure(const Address& on, int error);
// Nothing if the connection was established.
std::optional<Failure> findFailure(const CloseRecord& record, const Forward& forward);
Failure describeAcceptFailure(const Address& on, int error);

}  // namespace vsock_proxy
