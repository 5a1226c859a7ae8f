#include "scratch.h"

namespace vsock_proxy {
namespace {

// Bounds what slow sinks can pin: 1 MiB of kernel memory a pipe.
constexpr size_t kMostPipes = 16;

}  // namespace

std::unique_ptr<Pipe> Scratch::borrowPipe() {
  if (!free_.empty()) {
    std::unique_ptr<Pipe> pipe = std::move(free_.back());
    free_.pop_back();
    return pipe;
  }
  if (pipes_ >= kMostPipes) return nullptr;
  auto pipe = std::make_unique<Pipe>(pipes_);
  return *pipe ? std::move(pipe) : nullptr;
}

}  // namespace vsock_proxy
