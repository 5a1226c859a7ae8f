// vsock-enclave: the enclave's side of vsock-proxy without Node.js.

#include <string>
#include <vector>

#include "../forwarder/forwarder.h"
#include "../forwarder/process.h"
#include "host.h"
#include "process.h"
#include "program.h"

extern "C" {
// bytecode.S
extern const uint8_t vsock_enclave_begin[];
extern const uint8_t vsock_enclave_end[];
}

int main(int count, char** words) {
  vsock_proxy::openStandardStreams();
  const std::vector<std::string> all(words, words + count);
  if (count > 1 && all[1] == "forward") {
    return vsock_proxy::runForwarder("vsock-enclave forward", {all.begin() + 2, all.end()});
  }
  vsock_proxy::prepareProcess();
  const auto size = static_cast<size_t>(vsock_enclave_end - vsock_enclave_begin);
  vsock_proxy::Program(all).run({vsock_enclave_begin, size}, vsock_proxy::makeHost);
}
