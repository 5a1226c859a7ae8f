// One direction of a connection: moves bytes from a source socket to a sink socket.
//
// Small amounts are read and written through the thread's buffer. From a TCP source that sends much
// they go through a pipe, by reference: see bench/RESULTS.md for what that gains. What the sink does
// not take at once is kept aside, in a buffer of its size or in the pipe that it is in.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "scratch.h"

namespace vsock_proxy {

class Pump {
 public:
  enum class State : uint8_t {
    Flowing,     // reads as long as the sink takes everything
    SourceDone,  // the source's EOF was read, and everything before it was taken by the sink
    SinkFailed,  // the sink takes no more bytes; what was kept for it is dropped with it
  };

  // The source is TCP: the kernel can pass its bytes on by reference. (From other sockets it copies.)
  void allowSplice() { splices_ = true; }

  // Moves what can be moved now. Returns the errno of a source that failed, else 0; a sink's failure
  // is a state, for its own direction may still carry bytes.
  int run(int source, int sink, Scratch& scratch);
  // Learns from elsewhere that the sink takes no more bytes.
  void failSink(int error);

  State state() const { return state_; }
  // At most one of them holds: while bytes are kept for the sink, the source is left alone.
  bool wantsSource() const { return state_ == State::Flowing && keptBytes_ == 0; }
  bool wantsSink() const { return state_ == State::Flowing && keptBytes_ != 0; }

  uint64_t bytes() const { return bytes_; }      // that the sink took
  int sinkError() const { return sinkError_; }   // 0 unless SinkFailed
  bool lostBytes() const { return lostBytes_; }  // some were read, and the sink failed before it took them

 private:
  size_t pass(int source, int sink, Scratch& scratch, int& error);
  void copy(int sink, const char* data, size_t size);
  void deliverKept(int sink);
  void count(const Moved& sent);

  std::unique_ptr<char[]> buffer_;  // what is kept is here from keptOffset_ on
  std::unique_ptr<Pipe> pipe_;      // or here
  size_t keptBytes_ = 0;
  size_t keptOffset_ = 0;
  uint64_t bytes_ = 0;
  int sinkError_ = 0;
  bool splices_ = false;
  bool bulk_ = false;  // the last read was large
  bool lostBytes_ = false;
  State state_ = State::Flowing;
};

}  // namespace vsock_proxy
