#include "scratch.h"

#include <new>

namespace vsock_proxy {

void Release::operator()(const char* bytes) const {
  if (count != nullptr) *count -= size;
  delete[] bytes;
}

Kept Scratch::keep(size_t size) {
  char* bytes = new (std::nothrow) char[size];
  if (bytes == nullptr) return nullptr;
  kept_ += size;
  return {bytes, Release{&kept_, size}};
}

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
