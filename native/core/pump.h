// One direction of a connection: moves bytes from a source socket to a sink socket.
//
// Small amounts are read and written through the thread's buffer. If it gains something, the bytes of a
// source that sends much go through a pipe, without a copy into this process: see bench/RESULTS.md. Bytes
// that the sink does not take at once are kept, in a buffer of their size or in the pipe. A pump can first
// deliver bytes of the proxy, and can stop at the end of one message body.

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
    Flowing,     // reads while the sink takes everything
    SourceDone,  // the source's EOF was read, and the sink has taken everything before it
    SinkFailed,  // the sink takes no more bytes; the kept bytes are dropped
    BodyDone,    // the body is complete, and the sink has taken all of it
    Malformed,   // the bytes of the source are not a body as it was announced
  };

  // The kinds of the two sockets decide how bytes go from one to the other.
  void between(sa_family_t source, sa_family_t sink);

  // The sink gets these bytes next. Only before `run` has read anything, or while held.
  void prime(std::string_view bytes);
  // Does not read from the source until released.
  void hold() { held_ = true; }
  void release() { held_ = false; }
  // Ends with this body, which begins with `first`. The bytes after it are for the owner.
  void limit(Body body, std::string_view first);
  bool bodyComplete() const { return limit_ && limit_->body.done(); }
  // The bytes of the source after the body.
  std::string takeBehind() { return limit_ ? std::move(limit_->behind) : std::string(); }

  // Delivers the kept bytes, and reads nothing.
  void deliver(int sink);
  // Moves what can be moved now. Returns the errno of a failed source, else 0. A failure of the sink is a
  // state, because the other direction may still carry bytes.
  int run(int source, int sink, Scratch& scratch);
  // The sink takes no more bytes, as another part of the connection found out.
  void failSink(int error);

  State state() const { return state_; }
  // At most one of them is true: while bytes are kept for the sink, the source is not read.
  bool wantsSource() const { return state_ == State::Flowing && keptBytes_ == 0 && !held_; }
  bool wantsSink() const { return state_ == State::Flowing && keptBytes_ != 0; }

  uint64_t bytes() const { return bytes_; }      // bytes that the sink has taken
  int sinkError() const { return sinkError_; }   // 0 unless SinkFailed
  bool lostBytes() const { return lostBytes_; }  // some were read, and the failed sink did not take them

 private:
  // Half of what a unix peer may have sent, so that it can write on while the other half is passed on.
  static constexpr uint32_t kCopyBytes = 112 * 1024;

  struct Limit {
    Body body;
    std::string behind;
  };

  int turn(int source, int sink, Scratch& scratch);
  void returnEmptyPipe(Scratch& scratch);
  size_t pass(int source, int sink, Scratch& scratch, int& error);
  Moved fill(int source, Scratch& scratch);
  bool emptyPipe();
  void neverSplice() { spliceBytes_ = 0, bulk_ = tries_ = false; }
  void copy(int sink, const char* data, size_t size, Scratch& scratch);
  size_t ofBody(const char* data, size_t size);
  void count(const Moved& sent);
  void checkBody();

  Kept buffer_;                 // the kept bytes are here from keptOffset_ on,
  std::unique_ptr<Pipe> pipe_;  // or here
  size_t keptBytes_ = 0;
  size_t keptOffset_ = 0;
  uint64_t bytes_ = 0;
  uint32_t copyBytes_ = kCopyBytes;  // the most bytes of one read into the thread's buffer
  uint32_t spliceBytes_ = 0;         // the most bytes of one read into a pipe; 0: no splice
  int sinkError_ = 0;
  bool bulk_ = false;   // the last read was large
  bool tries_ = false;  // Scratch::toVsock says whether bulk goes through a pipe
  bool lostBytes_ = false;
  bool held_ = false;
  std::unique_ptr<Limit> limit_;  // null: up to the source's EOF
  State state_ = State::Flowing;
};

}  // namespace vsock_proxy
