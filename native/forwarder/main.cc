#include "forwarder.h"
#include "process.h"

int main(int count, char** words) {
  vsock_proxy::openStandardStreams();
  const std::vector<std::string> arguments(words + 1, words + count);
  if (arguments.empty() || arguments.front() != "forward") {
    return vsock_proxy::runForwarder("vsock-forwarder", arguments);
  }
  // The executable vsock-proxy replaces itself by this program, and passes its own words.
  vsock_proxy::nameProcess("vsock-proxy");
  return vsock_proxy::runForwarder("vsock-proxy forward", {arguments.begin() + 1, arguments.end()});
}
