#include "pump.h"

#include <cerrno>
#include <cstring>
#include <new>

namespace vsock_proxy {
namespace {

// Reads passed on before other connections of the thread get their turn.
constexpr int kReadsPerTurn = 8;
// A read of this size shows a stream in bulk: it is read on, and a pipe beats the copies that it saves.
constexpr size_t kBulkBytes = 64 * 1024;

}  // namespace

int Pump::run(int source, int sink, Scratch& scratch) {
  int error = 0;
  if (wantsSink()) deliverKept(sink);
  for (int i = 0; i < kReadsPerTurn && error == 0 && wantsSource(); ++i) {
    // A bulk sender has refilled its socket while its last bytes were sent; any other has nothing more.
    if (pass(source, sink, scratch, error) < kBulkBytes) break;
  }
  if (pipe_ && keptBytes_ == 0) scratch.returnPipe(std::move(pipe_));
  return error;
}

// One read, and as much of it delivered as the sink takes. Returns the bytes read.
size_t Pump::pass(int source, int sink, Scratch& scratch, int& error) {
  if (bulk_ && !pipe_) pipe_ = scratch.borrowPipe();
  const Moved read = pipe_ ? pipe_->fillFrom(source) : receive(source, scratch.buffer(), Scratch::kBytes);
  if (read.error != 0) {
    if (read.error != EAGAIN) error = read.error;
    return 0;
  }
  bulk_ = splices_ && read.bytes >= kBulkBytes;
  if (read.bytes == 0) {
    state_ = State::SourceDone;
  } else if (pipe_) {
    keptBytes_ = read.bytes;
    deliverKept(sink);
  } else {
    copy(sink, scratch.buffer(), read.bytes);
  }
  return read.bytes;
}

void Pump::copy(int sink, const char* data, size_t size) {
  const Moved sent = send(sink, data, size);
  keptBytes_ = size;
  count(sent);
  if (!wantsSink()) return;
  buffer_.reset(new (std::nothrow) char[keptBytes_]);
  if (!buffer_) return failSink(ENOMEM);
  std::memcpy(buffer_.get(), data + sent.bytes, keptBytes_);
  keptOffset_ = 0;
}

void Pump::deliverKept(int sink) {
  count(pipe_ ? pipe_->drainTo(sink, keptBytes_) : send(sink, buffer_.get() + keptOffset_, keptBytes_));
  if (keptBytes_ == 0) buffer_.reset();
}

// Some of the kept bytes were sent, or none because the sink is full or has failed.
void Pump::count(const Moved& sent) {
  bytes_ += sent.bytes;
  keptBytes_ -= sent.bytes;
  keptOffset_ += sent.bytes;
  if (sent.error != 0 && sent.error != EAGAIN) failSink(sent.error);
}

void Pump::failSink(int error) {
  state_ = State::SinkFailed;
  sinkError_ = error;
  lostBytes_ = keptBytes_ != 0;
  keptBytes_ = 0;
  buffer_.reset();
  pipe_.reset();
}

}  // namespace vsock_proxy
