// Where bytes are while they pass from one socket to another: one buffer and a few pipes a thread,
// lent for the time of a turn, or until the sink has taken what it would not take at once.

#pragma once

#include <memory>
#include <vector>

#include "socket.h"

namespace vsock_proxy {

class Scratch {
 public:
  // One read is at most this large: half of what a unix peer may have sent, so that it writes on while
  // the other half is passed on.
  static constexpr size_t kBytes = 112 * 1024;

  char* buffer() { return buffer_.get(); }

  // An empty pipe; null when no more may be made, and then the buffer serves.
  std::unique_ptr<Pipe> borrowPipe();
  // Takes an empty pipe back. One with bytes in it is destroyed by its borrower instead.
  void returnPipe(std::unique_ptr<Pipe> pipe) { free_.push_back(std::move(pipe)); }

 private:
  std::unique_ptr<char[]> buffer_ = std::make_unique<char[]>(kBytes);
  size_t pipes_ = 0;  // free and lent
  std::vector<std::unique_ptr<Pipe>> free_;
};

}  // namespace vsock_proxy
