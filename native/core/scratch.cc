#include "scratch.h"

namespace vsock_proxy {

std::unique_ptr<Pipe> Scratch::borrowPipe() {
  if (!free_.empty()) {
    std::unique_ptr<Pipe> pipe = std::move(free_.back());
    free_.pop_back();
    return pipe;
  }
  if (pipes_ >= size_.pipes) return nullptr;
  auto pipe = std::make_unique<Pipe>(pipes_);
  return *pipe ? std::move(pipe) : nullptr;
}

}  // namespace vsock_proxy
