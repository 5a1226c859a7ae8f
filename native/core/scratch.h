// What the connections of a thread share to move bytes: one buffer and a few pipes, which are lent for one
// turn, or until the sink has taken the rest; and which of them costs less.

#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "socket.h"
#include "trial.h"

namespace vsock_proxy {

// The limits of this memory.
struct ScratchSize {
  // The most bytes of one read, and of what is kept for one slow sink.
  size_t bufferBytes = 512 * 1024;
  // If more than this is kept for slow sinks, reads are small, and little more is kept for each further
  // one.
  size_t keptBytes = 16 * 1024 * 1024;
  // Bounds the memory of slow sinks: 1 MiB of kernel memory for each pipe.
  size_t pipes = 16;
};

// Subtracts the kept bytes from the count.
struct Release {
  size_t* count = nullptr;  // null: they were not counted
  size_t size = 0;
  void operator()(const char* bytes) const;
};
using Kept = std::unique_ptr<char[], Release>;

class Scratch {
 public:
  explicit Scratch(ScratchSize size = {}) : size_(size) {}

  char* buffer() { return buffer_.get(); }
  // The most bytes of one read.
  size_t bytes() const {
    return kept_ <= size_.keptBytes ? size_.bufferBytes : std::min(kScarceBytes, size_.bufferBytes);
  }

  // Memory for bytes that a sink has not taken; null if there is none.
  Kept keep(size_t size);

  // An empty pipe; null if there may be no more pipes, and then the buffer is used.
  std::unique_ptr<Pipe> borrowPipe();
  // Takes an empty pipe back. The borrower destroys a pipe with bytes in it instead.
  void returnPipe(std::unique_ptr<Pipe> pipe) { free_.push_back(std::move(pipe)); }

  // Whether bulk from TCP to vsock goes through pipes.
  Trial toVsock;

 private:
  static constexpr size_t kScarceBytes = 16 * 1024;

  const ScratchSize size_;
  size_t kept_ = 0;
  // Not zeroed, because a page costs nothing until bytes are read into it.
  const std::unique_ptr<char[]> buffer_{new char[size_.bufferBytes]};
  size_t pipes_ = 0;  // free and lent
  std::vector<std::unique_ptr<Pipe>> free_;
};

}  // namespace vsock_proxy
