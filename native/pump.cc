#include "pump.h"

#include <cerrno>
#include <cstring>
#include <new>

#include "socket.h"

namespace vsock_proxy {
namespace {

// Buffers passed before other connections of the thread get their turn.
constexpr int kRoundsPerTurn = 4;

}  // namespace

int Pump::run(int source, int sink, char* scratch, size_t size) {
  if (keptBytes_ != 0 && !deliverKept(sink)) return 0;
  for (int round = 0; round < kRoundsPerTurn && state_ == State::Flowing; ++round) {
    const Moved read = receive(source, scratch, size);
    if (read.error == EAGAIN) return 0;
    if (read.error != 0) return read.error;
    if (read.bytes == 0) {
      state_ = State::SourceDone;
      return 0;
    }
    const size_t taken = deliver(sink, scratch, read.bytes);
    if (state_ == State::Flowing && taken < read.bytes) {
      keep(scratch + taken, read.bytes - taken);
      return 0;
    }
    if (read.bytes < size) return 0;  // the source is drained: no need to ask
  }
  return 0;
}

size_t Pump::deliver(int sink, const char* data, size_t size) {
  const Moved sent = send(sink, data, size);
  bytes_ += sent.bytes;
  if (sent.error != 0 && sent.error != EAGAIN) {
    lostBytes_ = true;
    failSink(sent.error);
  }
  return sent.bytes;
}

void Pump::failSink(int error) {
  state_ = State::SinkFailed;
  sinkError_ = error;
  lostBytes_ |= keptBytes_ != 0;
  keptBytes_ = 0;
  kept_.reset();
}

bool Pump::deliverKept(int sink) {
  const size_t taken = deliver(sink, kept_.get() + keptOffset_, keptBytes_);
  keptOffset_ += static_cast<uint32_t>(taken);
  if (state_ == State::SinkFailed) return false;
  keptBytes_ -= static_cast<uint32_t>(taken);
  if (keptBytes_ == 0) kept_.reset();
  return keptBytes_ == 0;
}

void Pump::keep(const char* data, size_t size) {
  kept_.reset(new (std::nothrow) char[size]);
  if (!kept_) {
    lostBytes_ = true;
    return failSink(ENOMEM);
  }
  std::memcpy(kept_.get(), data, size);
  keptBytes_ = static_cast<uint32_t>(size);
  keptOffset_ = 0;
}

}  // namespace vsock_proxy
