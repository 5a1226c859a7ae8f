// One direction of a connection: moves bytes from a source socket to a sink socket.
//
// Small amounts are read and written through the thread's buffer. Where that gains something, a source that
// sends much has its bytes go through a pipe, without a copy into this process: see bench/RESULTS.md. What
// the sink does not take at once is kept aside, in a buffer of its size or in the pipe that it is in. A pump
// may be given bytes of ours to deliver first, and may be told to stop at the end of one message body.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "body.h"
#include "scratch.h"

namespace vsock_proxy {

class Pump {
 public:
  enum class State : uint8_t {
    Flowing,     // reads as long as the sink takes everything
    SourceDone,  // the source's EOF was read, and everything before it was taken by the sink
    SinkFailed,  // the sink takes no more bytes; what was kept for it is dropped with it
    BodyDone,    // the body is complete, and all of it was taken by the sink
    Malformed,   // the source sent what is no body as it was announced
  };

  // What kinds of sockets the two are decides how bytes go from one to the other.
  void between(sa_family_t source, sa_family_t sink);

  // Has the sink get these bytes next. Only before anything was read with `run`, or while held.
  void prime(std::string_view bytes);
  // Reads nothing from the source, until released.
  void hold() { held_ = true; }
  void release() { held_ = false; }
  // Ends with this body, which begins with `first`. What comes behind it is left to the owner.
  void limit(Body body, std::string_view first);
  bool bodyComplete() const { return limit_ && limit_->body.done(); }
  // What the source sent behind the body.
  std::string takeBehind() { return limit_ ? std::move(limit_->behind) : std::string(); }

  // Delivers what is kept for the sink, and reads nothing.
  void deliver(int sink);
  // Moves what can be moved now. Returns the errno of a source that failed, else 0; a sink's failure
  // is a state, for its own direction may still carry bytes.
  int run(int source, int sink, Scratch& scratch);
  // Learns from elsewhere that the sink takes no more bytes.
  void failSink(int error);

  State state() const { return state_; }
  // At most one of them holds: while bytes are kept for the sink, the source is left alone.
  bool wantsSource() const { return state_ == State::Flowing && keptBytes_ == 0 && !held_; }
  bool wantsSink() const { return state_ == State::Flowing && keptBytes_ != 0; }

  uint64_t bytes() const { return bytes_; }      // that the sink took
  int sinkError() const { return sinkError_; }   // 0 unless SinkFailed
  bool lostBytes() const { return lostBytes_; }  // some were read, and the sink failed before it took them

 private:
  // Half of what a unix peer may have sent, so that it writes on while the other half is passed on.
  static constexpr uint32_t kCopyBytes = 112 * 1024;

  struct Limit {
    Body body;
    std::string behind;
  };

  size_t pass(int source, int sink, Scratch& scratch, int& error);
  Moved fill(int source, Scratch& scratch);
  bool emptyPipe();
  void neverSplice() { spliceBytes_ = 0, bulk_ = false; }
  void copy(int sink, const char* data, size_t size, Scratch& scratch);
  size_t ofBody(const char* data, size_t size);
  void count(const Moved& sent);
  void checkBody();

  Kept buffer_;                 // what is kept is here from keptOffset_ on
  std::unique_ptr<Pipe> pipe_;  // or here
  size_t keptBytes_ = 0;
  size_t keptOffset_ = 0;
  uint64_t bytes_ = 0;
  uint32_t copyBytes_ = kCopyBytes;  // the most of one read into the thread's buffer
  uint32_t spliceBytes_ = 0;         // the most of one read into a pipe; 0: never
  int sinkError_ = 0;
  bool bulk_ = false;  // the last read was large
  bool lostBytes_ = false;
  bool held_ = false;
  std::unique_ptr<Limit> limit_;  // none: up to the source's EOF
  State state_ = State::Flowing;
};

}  // namespace vsock_proxy
