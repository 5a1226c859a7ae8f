// How long a message body is, told from its own bytes as they pass: RFC 9112, sections 6 and 7.

#pragma once

#include <cstddef>
#include <cstdint>

namespace vsock_proxy {

class Body {
 public:
  static Body none() { return length(0); }
  static Body length(uint64_t bytes) { return {bytes == 0 ? State::Done : State::Counted, bytes}; }
  // Chunks as RFC 9112, section 7.1, has them, and nothing laxer: what two readers could read in two ways is
  // malformed. Extensions and trailers pass, up to 8 KiB.
  static Body chunked() { return {State::ChunkSize, 0}; }

  // How many of the next bytes still belong to the body. What is malformed belongs to nobody.
  size_t take(const char* data, size_t size);

  bool done() const { return state_ == State::Done; }
  bool malformed() const { return state_ == State::Malformed; }
  // Never read more than that at once, where more would belong to somebody else. (Chunks say only as they
  // pass.)
  size_t mostToRead(size_t room) const;

 private:
  enum class State : uint8_t {
    Counted,     // so many bytes
    ChunkSize,   // digits
    Extension,   // up to CR
    ChunkStart,  // LF
    Chunk,       // so many bytes
    ChunkCr,
    ChunkLf,
    TrailerStart,  // at the beginning of a line
    TrailerName,   // up to the colon
    Trailer,       // up to CR
    TrailerLf,
    LastLf,
    Done,
    Malformed,
  };

  Body(State state, uint64_t left) : state_(state), left_(left) {}
  State step(unsigned char byte);
  State stepChunkSize(unsigned char byte);
  State within(State state);

  State state_;
  uint8_t digits_ = 0;      // of the chunk's size
  uint16_t unbounded_ = 0;  // bytes of extensions and trailers, which nothing else bounds
  uint64_t left_;           // of the counted bytes or of the chunk
};

}  // namespace vsock_proxy
