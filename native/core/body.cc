#include "body.h"

#include <algorithm>
#include <cstring>

namespace vsock_proxy {
namespace {

// As large as a request head may be.
constexpr size_t kMostUncounted = 16 * 1024;
constexpr uint16_t kMostUnbounded = 8 * 1024;
// Nobody sends 2^60 bytes, and sums up to that do not overflow.
constexpr uint8_t kMostDigits = 15;

int hexDigit(unsigned char byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  const unsigned char lower = byte | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool isText(unsigned char byte) { return byte == '\t' || (byte >= ' ' && byte != 0x7f); }

// RFC 9110, section 5.6.2.
bool isToken(unsigned char byte) {
  return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z') ||
         (byte != 0 && std::strchr("!#$%&'*+-.^_`|~", byte) != nullptr);
}

}  // namespace

size_t Body::mostToRead(size_t room) const {
  return static_cast<size_t>(std::min<uint64_t>(state_ == State::Counted ? left_ : kMostUncounted, room));
}

size_t Body::take(const char* data, size_t size) {
  size_t taken = 0;
  while (taken < size && !done() && !malformed()) {
    if (state_ == State::Counted || state_ == State::Chunk) {
      const size_t bytes = static_cast<size_t>(std::min<uint64_t>(left_, size - taken));
      taken += bytes;
      left_ -= bytes;
      if (left_ == 0) state_ = state_ == State::Counted ? State::Done : State::ChunkCr;
      continue;
    }
    state_ = step(static_cast<unsigned char>(data[taken]));
    if (!malformed()) ++taken;
  }
  return taken;
}

Body::State Body::step(unsigned char byte) {
  const auto expect = [byte](unsigned char expected, State next) {
    return byte == expected ? next : State::Malformed;
  };
  switch (state_) {
    case State::ChunkSize:
      return stepChunkSize(byte);
    case State::Extension:
      if (byte == '\r') return State::ChunkStart;
      return isText(byte) ? within(State::Extension) : State::Malformed;
    case State::ChunkStart:
      digits_ = 0;
      return expect('\n', left_ == 0 ? State::TrailerStart : State::Chunk);
    case State::ChunkCr:
      return expect('\r', State::ChunkLf);
    case State::ChunkLf:
      return expect('\n', State::ChunkSize);
    case State::TrailerStart:
      if (byte == '\r') return State::LastLf;
      return isToken(byte) ? within(State::TrailerName) : State::Malformed;
    case State::TrailerName:
      if (byte == ':') return within(State::Trailer);
      return isToken(byte) ? within(State::TrailerName) : State::Malformed;
    case State::Trailer:
      if (byte == '\r') return State::TrailerLf;
      return isText(byte) ? within(State::Trailer) : State::Malformed;
    case State::TrailerLf:
      return expect('\n', State::TrailerStart);
    case State::LastLf:
      return expect('\n', State::Done);
    case State::Counted:
    case State::Chunk:
    case State::Done:
    case State::Malformed:
      break;
  }
  return State::Malformed;
}

Body::State Body::stepChunkSize(unsigned char byte) {
  const int digit = hexDigit(byte);
  if (digit >= 0) {
    if (digits_ == kMostDigits) return State::Malformed;
    left_ = (digits_ == 0 ? 0 : left_ * 16) + static_cast<uint64_t>(digit);
    ++digits_;
    return State::ChunkSize;
  }
  if (digits_ == 0) return State::Malformed;
  if (byte == '\r') return State::ChunkStart;
  return byte == ';' ? within(State::Extension) : State::Malformed;
}

Body::State Body::within(State state) { return ++unbounded_ > kMostUnbounded ? State::Malformed : state; }

}  // namespace vsock_proxy
