// Where bytes are while they pass from one socket to another: one buffer and a few pipes a thread,
// lent for the time of a turn, or until the sink has taken what it would not take at once.

#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "socket.h"

namespace vsock_proxy {

// How much memory that may be.
struct ScratchSize {
  // One read is at most this large, and so is what is kept for one slow sink.
  size_t bufferBytes = 512 * 1024;
  // While more than this is kept for slow sinks, reads are small, and little more is kept for each other one.
  size_t keptBytes = 16 * 1024 * 1024;
  // Bounds what slow sinks can pin: 1 MiB of kernel memory a pipe.
  size_t pipes = 16;
};

// Takes what was kept off the count.
struct Release {
  size_t* count = nullptr;  // null: it was not counted
  size_t size = 0;
  void operator()(const char* bytes) const;
};
using Kept = std::unique_ptr<char[], Release>;

class Scratch {
 public:
  explicit Scratch(ScratchSize size = {}) : size_(size) {}

  char* buffer() { return buffer_.get(); }
  // The most of one read.
  size_t bytes() const {
    return kept_ <= size_.keptBytes ? size_.bufferBytes : std::min(kScarceBytes, size_.bufferBytes);
  }

  // A place aside for bytes that a sink has not taken; null where there is no memory.
  Kept keep(size_t size);

  // An empty pipe; null when no more may be made, and then the buffer serves.
  std::unique_ptr<Pipe> borrowPipe();
  // Takes an empty pipe back. One with bytes in it is destroyed by its borrower instead.
  void returnPipe(std::unique_ptr<Pipe> pipe) { free_.push_back(std::move(pipe)); }

 private:
  static constexpr size_t kScarceBytes = 16 * 1024;

  const ScratchSize size_;
  size_t kept_ = 0;
  // Not zeroed: a page costs nothing until something is read into it.
  const std::unique_ptr<char[]> buffer_{new char[size_.bufferBytes]};
  size_t pipes_ = 0;  // free and lent
  std::vector<std::unique_ptr<Pipe>> free_;
};

}  // namespace vsock_proxy
