#include "pump.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "thread.h"

namespace vsock_proxy {
namespace {

// The number of reads before other connections of the thread get their turn.
constexpr int kReadsPerTurn = 8;
// A read of this size, or one that filled all the room, shows a bulk stream. It is read on, and a pipe then
// costs less than the copies that it saves.
constexpr size_t kBulkBytes = 64 * 1024;
// Packets of vsock: half of what a peer may have sent unread, if it requests as much as we do.
constexpr uint32_t kVsockBytes = 512 * 1024;

bool isTcp(sa_family_t family) { return family == AF_INET || family == AF_INET6; }

// The errnos of splice(2) that mean that it does not work for this socket or process. A copy finds out any
// other meaning.
bool refusesSplice(int error) {
  return error == EINVAL || error == ENOSYS || error == EPERM || error == EOPNOTSUPP;
}

}  // namespace

// TCP gives its pages to the pipe; any other socket copies into new ones, which costs more than it saves.
// Until Linux 6.5 a pipe is emptied page by page, and vsock makes a packet of each page, which costs its peer
// more. No trial would see that.
void Pump::between(sa_family_t source, sa_family_t sink) {
  const bool fromTcp = isTcp(source);
  const bool toVsock = sink == AF_VSOCK;
  if (source == AF_VSOCK || (fromTcp && toVsock)) copyBytes_ = kVsockBytes;
  if (fromTcp && !toVsock) spliceBytes_ = Pipe::kBytes;
  tries_ = fromTcp && toVsock && splicesManyPages();
  if (tries_) spliceBytes_ = kVsockBytes;
}

void Pump::prime(std::string_view bytes) {
  if (bytes.empty() || state_ != State::Flowing) return;
  Kept joined(new (std::nothrow) char[keptBytes_ + bytes.size()]);
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
  if (!tries_ || !bulk_) return turn(source, sink, scratch);
  const bool measured = scratch.toVsock.measures();
  const uint64_t before = bytes_;
  const int64_t began = measured ? threadMicros() : 0;
  const int error = turn(source, sink, scratch);
  scratch.toVsock.turned(bytes_ - before, measured ? threadMicros() - began : 0);
  return error;
}

int Pump::turn(int source, int sink, Scratch& scratch) {
  int error = 0;
  const size_t bulk = std::min(kBulkBytes, scratch.bytes());
  if (wantsSink()) deliver(sink);
  returnEmptyPipe(scratch);
  for (int i = 0; i < kReadsPerTurn && error == 0 && wantsSource(); ++i) {
    // A bulk sender has refilled its socket while its last bytes were sent. Any other sender has nothing
    // more.
    if (pass(source, sink, scratch, error) < bulk) break;
  }
  returnEmptyPipe(scratch);
  return error;
}

void Pump::returnEmptyPipe(Scratch& scratch) {
  if (pipe_ && keptBytes_ == 0) scratch.returnPipe(std::move(pipe_));
}

// Does one read, and delivers as much of it as the sink takes. Returns the number of bytes read.
size_t Pump::pass(int source, int sink, Scratch& scratch, int& error) {
  const Moved read = fill(source, scratch);
  if (read.error != 0) {
    if (read.error != EAGAIN) error = read.error;
    return 0;
  }
  bulk_ = spliceBytes_ != 0 && !limit_ && read.bytes >= kBulkBytes;
  if (read.bytes == 0) {
    state_ = State::SourceDone;
  } else if (pipe_) {
    keptBytes_ = read.bytes;
    deliver(sink);
  } else if (limit_) {
    const size_t bytes = ofBody(scratch.buffer(), read.bytes);
    if (bytes != 0) copy(sink, scratch.buffer(), bytes, scratch);
    checkBody();
  } else {
    copy(sink, scratch.buffer(), read.bytes, scratch);
  }
  return read.bytes;
}

// Reads into a pipe, or into the thread's buffer.
Moved Pump::fill(int source, Scratch& scratch) {
  if (bulk_ && !pipe_ && (!tries_ || scratch.toVsock.splices())) pipe_ = scratch.borrowPipe();
  if (pipe_) {
    const Moved read = pipe_->fillFrom(source, spliceBytes_);
    if (!refusesSplice(read.error)) return read;
    neverSplice();
    scratch.returnPipe(std::move(pipe_));
  }
  const size_t most = std::min<size_t>(copyBytes_, scratch.bytes());
  return receive(source, scratch.buffer(), limit_ ? limit_->body.mostToRead(most) : most);
}

// How many of these bytes belong to the body. The others are kept for the owner.
size_t Pump::ofBody(const char* data, size_t size) {
  const size_t bytes = limit_->body.take(data, size);
  if (!limit_->body.malformed()) limit_->behind.append(data + bytes, size - bytes);
  return bytes;
}

// Whether the body ends here, when no byte of it is left to deliver.
void Pump::checkBody() {
  if (!limit_ || state_ != State::Flowing || keptBytes_ != 0) return;
  if (limit_->body.done()) state_ = State::BodyDone;
  if (limit_->body.malformed()) state_ = State::Malformed;
}

void Pump::copy(int sink, const char* data, size_t size, Scratch& scratch) {
  const Moved sent = send(sink, data, size);
  keptBytes_ = size;
  count(sent);
  if (!wantsSink()) return;
  buffer_ = scratch.keep(keptBytes_);
  if (!buffer_) return failSink(ENOMEM);
  std::memcpy(buffer_.get(), data + sent.bytes, keptBytes_);
  keptOffset_ = 0;
}

void Pump::deliver(int sink) {
  const auto sendKept = [&] { return send(sink, buffer_.get() + keptOffset_, keptBytes_); };
  Moved sent = pipe_ ? pipe_->drainTo(sink, keptBytes_) : sendKept();
  if (pipe_ && refusesSplice(sent.error)) {
    if (!emptyPipe()) return;
    sent = sendKept();
  }
  count(sent);
  if (keptBytes_ != 0) return;
  buffer_.reset();
  checkBody();
}

// The sink takes nothing from a pipe, so its kept bytes, and all later ones, go through a buffer. Returns
// false if there is no memory for that.
bool Pump::emptyPipe() {
  neverSplice();
  buffer_ = Kept(new (std::nothrow) char[keptBytes_]);  // whoever counts the last one must not count this one
  keptOffset_ = 0;
  const Moved taken = buffer_ ? pipe_->take(buffer_.get(), keptBytes_) : Moved{0, ENOMEM};
  if (taken.bytes == keptBytes_) {
    pipe_.reset();
    return true;
  }
  failSink(taken.error);
  return false;
}

// Some of the kept bytes were sent, or none, because the sink is full or has failed.
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
