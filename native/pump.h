// One direction of a connection: moves bytes from a source socket to a sink socket.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace vsock_proxy {

class Pump {
 public:
  enum class State : uint8_t {
    Flowing,     // reads as long as the sink takes everything
    SourceDone,  // the source's EOF was read, and everything before it was taken by the sink
    SinkFailed,  // the sink takes no more bytes; what was kept for it is dropped with it
  };

  // Moves what can be moved now. `scratch` holds `size` bytes and is free again on return.
  // Returns the errno of a source that failed, else 0; a sink's failure is a state, for its own
  // direction may still carry bytes.
  int run(int source, int sink, char* scratch, size_t size);

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
  // Sends, counts, and returns how much the sink took; less than `size` means: not now, or failed.
  size_t deliver(int sink, const char* data, size_t size);
  bool deliverKept(int sink);
  void keep(const char* data, size_t size);

  std::unique_ptr<char[]> kept_;  // only what the sink would not take, and only so long
  uint32_t keptBytes_ = 0;
  uint32_t keptOffset_ = 0;
  uint64_t bytes_ = 0;
  int sinkError_ = 0;
  bool lostBytes_ = false;
  State state_ = State::Flowing;
};

}  // namespace vsock_proxy
