// The program: vsock-forwarder, and `forward` of others.

#pragma once

#include <string>
#include <vector>

namespace vsock_proxy {

// `program`: what users call it. `arguments` are the words behind that. Returns the exit status.
int runForwarder(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace vsock_proxy
