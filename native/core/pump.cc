#include "pump.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace vsock_proxy {
namespace {

// Reads passed on before other connections of the thread get their turn.
constexpr int kReadsPerTurn = 8;
// A read of this size, or of all that there is room for, shows a stream in bulk: it is read on, and a pipe
// beats the copies that it saves.
constexpr size_t kBulkBytes = 64 * 1024;

}  // namespace

void Pump::prime(std::string_view bytes) {
  if (bytes.empty() || state_ != State::Flowing) return;
  std::unique_ptr<char[]> joined(new (std::nothrow) char[keptBytes_ + bytes.size()]);
  if (!joined) return failSink(ENOMEM);
  if (keptBytes_ != 0) std::memcpy(joined.get(), buffer_.get() + keptOffset_, keptBytes_);
  std::memcpy(joined.get() + keptBytes_, bytes.data(), bytes.size());
  buffer_ = std::move(joined);
  keptBytes_ += bytes.size();
  keptOffset_ = 0;
}

void Pump::limit(Body body, std::string_view first) {
  limit_ = std::make_unique<Limit>(Limit{body, {}});
  prime(first.substr(0, ofBody(first.data(), first.size())));
  checkBody();
}

int Pump::run(int source, int sink, Scratch& scratch) {
  int error = 0;
  const size_t bulk = std::min(kBulkBytes, scratch.bytes());
  if (wantsSink()) deliver(sink);
  for (int i = 0; i < kReadsPerTurn && error == 0 && wantsSource(); ++i) {
    // A bulk sender has refilled its socket while its last bytes were sent; any other has nothing more.
    if (pass(source, sink, scratch, error) < bulk) break;
  }
  if (pipe_ && keptBytes_ == 0) scratch.returnPipe(std::move(pipe_));
  return error;
}

// One read, and as much of it delivered as the sink takes. Returns the bytes read.
size_t Pump::pass(int source, int sink, Scratch& scratch, int& error) {
  if (bulk_ && !pipe_) pipe_ = scratch.borrowPipe();
  const size_t room = limit_ ? limit_->body.mostToRead(scratch.bytes()) : scratch.bytes();
  const Moved read = pipe_ ? pipe_->fillFrom(source) : receive(source, scratch.buffer(), room);
  if (read.error != 0) {
    if (read.error != EAGAIN) error = read.error;
    return 0;
  }
  bulk_ = splices_ && !limit_ && read.bytes >= kBulkBytes;
  if (read.bytes == 0) {
    state_ = State::SourceDone;
  } else if (pipe_) {
    keptBytes_ = read.bytes;
    deliver(sink);
  } else if (limit_) {
    const size_t bytes = ofBody(scratch.buffer(), read.bytes);
    if (bytes != 0) copy(sink, scratch.buffer(), bytes);
    checkBody();
  } else {
    copy(sink, scratch.buffer(), read.bytes);
  }
  return read.bytes;
}

// How many of these bytes of the source belong to the body; the others are kept for the owner.
size_t Pump::ofBody(const char* data, size_t size) {
  const size_t bytes = limit_->body.take(data, size);
  if (!limit_->body.malformed()) limit_->behind.append(data + bytes, size - bytes);
  return bytes;
}

// Whether the body ends here, once nothing of it is left to deliver.
void Pump::checkBody() {
  if (!limit_ || state_ != State::Flowing || keptBytes_ != 0) return;
  if (limit_->body.done()) state_ = State::BodyDone;
  if (limit_->body.malformed()) state_ = State::Malformed;
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

void Pump::deliver(int sink) {
  count(pipe_ ? pipe_->drainTo(sink, keptBytes_) : send(sink, buffer_.get() + keptOffset_, keptBytes_));
  if (keptBytes_ != 0) return;
  buffer_.reset();
  checkBody();
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
