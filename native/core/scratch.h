// Where bytes are while they pass from one socket to another: one buffer and a few pipes a thread,
// lent for the time of a turn, or until the sink has taken what it would not take at once.

#pragma once

#include <memory>
#include <vector>

#include "socket.h"

namespace vsock_proxy {

// How much memory that may be.
struct ScratchSize {
  // One read is at most this large, and so is what is kept for one slow sink.
  size_t bufferBytes = 256 * 1024;
  // Bounds what slow sinks can pin: 1 MiB of kernel memory a pipe.
  size_t pipes = 16;
};

class Scratch {
 public:
  explicit Scratch(ScratchSize size = {}) : size_(size) {}

  char* buffer() { return buffer_.get(); }
  size_t bytes() const { return size_.bufferBytes; }

  // An empty pipe; null when no more may be made, and then the buffer serves.
  std::unique_ptr<Pipe> borrowPipe();
  // Takes an empty pipe back. One with bytes in it is destroyed by its borrower instead.
  void returnPipe(std::unique_ptr<Pipe> pipe) { free_.push_back(std::move(pipe)); }

 private:
  const ScratchSize size_;
  // Not zeroed: a page costs nothing until something is read into it.
  const std::unique_ptr<char[]> buffer_{new char[size_.bufferBytes]};
  size_t pipes_ = 0;  // free and lent
  std::vector<std::unique_ptr<Pipe>> free_;
};

}  // namespace vsock_proxy
