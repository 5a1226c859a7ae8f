#include "wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
// Behind sys/socket.h, which it needs.
#include <linux/vm_sockets.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <vector>

using std::chrono::steady_clock;

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

void fail(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

namespace {

void parseExtra(const std::string& text, Endpoint& endpoint) {
  static const std::string kBuffer = "buffer=";
  if (text.rfind(kBuffer, 0) != 0) {
    endpoint.prelude = parsePrelude(text);
    return;
  }
  const size_t comma = text.find(',');
  endpoint.vsockBufferBytes = std::stoul(text.substr(kBuffer.size(), comma)) * 1024;
  if (comma != std::string::npos) parseExtra(text.substr(comma + 1), endpoint);
}

}  // namespace

Endpoint parseEndpoint(const std::string& text) {
  Endpoint endpoint;
  const size_t comma = text.find(',');
  const std::string address = text.substr(0, comma);
  if (address.rfind("unix:", 0) == 0) {
    endpoint.unixPath = address.substr(5);
  } else if (address.rfind("tcp:", 0) == 0) {
    endpoint.tcpPort = static_cast<uint16_t>(std::stoul(address.substr(4)));
  } else if (address.rfind("vsock:", 0) == 0) {
    const size_t colon = address.rfind(':');
    endpoint.vsockCid = static_cast<uint32_t>(std::stoul(address.substr(6)));
    endpoint.vsockPort = static_cast<uint32_t>(std::stoul(address.substr(colon + 1)));
  } else {
    throw std::runtime_error("endpoint " + text + " is neither unix:/path nor tcp:PORT nor vsock:CID:PORT");
  }
  if (comma != std::string::npos) parseExtra(text.substr(comma + 1), endpoint);
  return endpoint;
}

namespace {

sockaddr_in loopbackAddress(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

}  // namespace

Fd connectTo(const Endpoint& endpoint) {
  const bool isUnix = !endpoint.unixPath.empty();
  const bool isVsock = endpoint.vsockPort != 0;
  Fd fd(socket(isUnix ? AF_UNIX : isVsock ? AF_VSOCK : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) fail("socket");
  setPatience(fd.get());
  if (isVsock) {
    if (const uint64_t bytes = endpoint.vsockBufferBytes; bytes != 0) {
      setsockopt(fd.get(), AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &bytes, sizeof bytes);
      setsockopt(fd.get(), AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &bytes, sizeof bytes);
    }
    sockaddr_vm address{};
    address.svm_family = AF_VSOCK;
    address.svm_cid = endpoint.vsockCid;
    address.svm_port = endpoint.vsockPort;
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail("connect");
  } else if (isUnix) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (endpoint.unixPath.size() >= sizeof address.sun_path)
      throw std::runtime_error("socket path is too long");
    std::memcpy(address.sun_path, endpoint.unixPath.data(), endpoint.unixPath.size());
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail("connect");
  } else {
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const sockaddr_in address = loopbackAddress(endpoint.tcpPort);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) fail("connect");
  }
  exchangePrelude(fd.get(), endpoint.prelude);
  return fd;
}

void setPatience(int fd) {
  const timeval patience{kPatience.count(), 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

Fd listenOnLoopback(uint16_t* port) {
  Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) fail("socket");
  sockaddr_in address = loopbackAddress(0);
  socklen_t size = sizeof address;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) < 0) fail("bind");
  if (listen(fd.get(), SOMAXCONN) < 0) fail("listen");
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) < 0) fail("getsockname");
  *port = ntohs(address.sin_port);
  return fd;
}

void writeAll(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("send");
    at += n;
    size -= static_cast<size_t>(n);
  }
}

size_t readUntilEnd(int fd, void* data, size_t size) {
  while (true) {
    const ssize_t n = recv(fd, data, size, 0);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) fail("recv");
  }
}

size_t readSome(int fd, void* data, size_t size) {
  const size_t bytes = readUntilEnd(fd, data, size);
  if (bytes == 0) throw std::runtime_error("recv: the other side closed too early");
  return bytes;
}

void readAll(int fd, void* data, size_t size) {
  char* at = static_cast<char*>(data);
  while (size > 0) {
    const size_t n = readSome(fd, at, size);
    at += n;
    size -= n;
  }
}

namespace {

// Checks the frames of a bulk transfer and counts their bytes.
class FrameReader {
 public:
  void take(const char* data, size_t size) {
    for (size_t at = 0; at < size;) {
      if (done_) throw std::runtime_error("bytes after the closing frame");
      const size_t inFrame = bytes_ % kFrameBytes;
      if (inFrame == 0) {
        if (data[at] != kMore && data[at] != kLast) throw std::runtime_error("bytes were lost or repeated");
        last_ = data[at] == kLast;
      }
      const size_t step = std::min(kFrameBytes - inFrame, size - at);
      at += step;
      bytes_ += step;
      done_ = last_ && bytes_ % kFrameBytes == 0;
    }
  }
  bool done() const { return done_; }
  uint64_t bytes() const { return bytes_; }

 private:
  uint64_t bytes_ = 0;
  bool last_ = false;
  bool done_ = false;
};

}  // namespace

uint64_t sendFrames(int fd, std::chrono::milliseconds duration) {
  std::vector<char> frame(kFrameBytes, kFiller);
  frame[0] = kMore;
  const auto end = steady_clock::now() + duration;
  uint64_t sent = 0;
  while (frame[0] != kLast) {
    if (steady_clock::now() >= end) frame[0] = kLast;
    writeAll(fd, frame.data(), frame.size());
    sent += frame.size();
  }
  return sent;
}

uint64_t receiveFrames(int fd) {
  std::vector<char> buffer(kFrameBytes);
  FrameReader reader;
  while (!reader.done()) reader.take(buffer.data(), readSome(fd, buffer.data(), buffer.size()));
  return reader.bytes();
}
