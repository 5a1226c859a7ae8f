// What both ends of the load generator agree on: how they connect, and what the bytes mean.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "prelude.h"

// The first byte of a connection says what it is for. The server sends it back, the client waits for that:
// then the whole path stands. Frames and echoed messages are never mistaken for it, see kFiller.
constexpr char kEcho = 'e';      // every byte comes back
constexpr char kUpload = 'u';    // frames follow; the server answers with the number of bytes that it got
constexpr char kDownload = 'd';  // a DownloadOrder follows; the server answers with frames, and then each
                                 // tells the other its number of bytes

struct DownloadOrder {
  uint32_t durationMs;
};

// Bulk data is a row of frames of this size. Large enough that system calls do not count, small enough that
// the buffer stays in the second-level cache, so that the generator costs as little as it can.
constexpr size_t kFrameBytes = 256 * 1024;
// The first byte of a frame. All others are kFiller, so that a lost or repeated byte is noticed at the next
// frame.
constexpr char kMore = 'm';
constexpr char kLast = 'l';
constexpr char kFiller = '.';

// Nothing waits longer than this, so that no contender can hang the benchmark.
constexpr std::chrono::seconds kPatience{20};

// Owns a file descriptor.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }

 private:
  int fd_;
};

// `unix:/path`, `tcp:PORT`, which is on 127.0.0.1, or `vsock:CID:PORT`; then, each behind a comma, on vsock
// `buffer=KIB`, which is what the peer may have sent unread, and a prelude, if there is one.
// Every function that cannot do its job throws std::runtime_error that names the system call and the error.
struct Endpoint {
  std::string unixPath;
  uint16_t tcpPort = 0;
  uint32_t vsockCid = 0;
  uint32_t vsockPort = 0;  // 0: not vsock
  uint64_t vsockBufferBytes = 0;
  Prelude prelude;
};
Endpoint parseEndpoint(const std::string& text);
// A connection whose prelude has been answered.
Fd connectTo(const Endpoint& endpoint);
// Puts kPatience on a socket's blocking calls.
void setPatience(int fd);
// Listens on a free port of 127.0.0.1, non-blocking.
Fd listenOnLoopback(uint16_t* port);

void writeAll(int fd, const void* data, size_t size);
// Reads what is there, at least one byte and at most `size`; 0 at the end.
size_t readUntilEnd(int fd, void* data, size_t size);
// The same where the end would come too early.
size_t readSome(int fd, void* data, size_t size);
void readAll(int fd, void* data, size_t size);
[[noreturn]] void fail(const std::string& what);

// Sends frames until the time is over. Returns the number of bytes, the closing frame included.
uint64_t sendFrames(int fd, std::chrono::milliseconds duration);
// Reads frames up to the closing one. Returns the number of bytes.
uint64_t receiveFrames(int fd);
