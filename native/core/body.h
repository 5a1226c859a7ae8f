// Finds the end of a message body from its bytes as they pass: RFC 9112, sections 6 and 7.

#pragma once

#include <cstddef>
#include <cstdint>

namespace vsock_proxy {

class Body {
 public:
  static Body none() { return length(0); }
  static Body length(uint64_t bytes) { return {bytes == 0 ? State::Done : State::Counted, bytes}; }
  // Chunks as in RFC 9112, section 7.1. The parser is strict: ambiguous chunks are malformed. Extensions
  // and trailers may have up to 8 KiB.
  static Body chunked() { return {State::ChunkSize, 0}; }

  // How many of the next bytes belong to the body. Malformed bytes do not.
  size_t take(const char* data, size_t size);

  bool done() const { return state_ == State::Done; }
  bool malformed() const { return state_ == State::Malformed; }
  // The most bytes to read at once, so that no bytes after the body are read. (With chunks, only the bytes
  // themselves say where the body ends.)
  size_t mostToRead(size_t room) const;

 private:
  enum class State : uint8_t {
    Counted,     // a known number of bytes
    ChunkSize,   // the digits of the size
    Extension,   // up to CR
    ChunkStart,  // LF
    Chunk,       // a known number of bytes
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
  uint8_t digits_ = 0;      // digits of the size of the chunk
  uint16_t unbounded_ = 0;  // bytes of extensions and trailers, which no other limit bounds
  uint64_t left_;           // remaining bytes of the body, or of the chunk
};

}  // namespace vsock_proxy
