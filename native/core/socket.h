// Every system call of the data plane, each as a function that returns a value or an errno.
//
// No function blocks: descriptors are non-blocking and close-on-exec from the start. No function throws,
// logs or retries, except after EINTR.

#pragma once

#include <sys/socket.h>  // first: linux/vm_sockets.h of Linux 6.1 and older needs it and does not say so

#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace vsock_proxy {

// Owns a descriptor; -1 owns nothing.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset(int fd = -1);
  // The caller has to close it.
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// A descriptor in reserve. It is closed when another one is needed and none is left.
class Reserve {
 public:
  // Opens the descriptor if it is not open. Returns 0 or an errno.
  int hold();
  // Returns whether it was open.
  bool giveUp();

 private:
  UniqueFd fd_;
};

// A socket address of one of the families to listen on or connect to.
class Address {
 public:
  Address() = default;  // without a family
  static Address vsock(uint32_t cid, uint32_t port);
  // `ip` is an IPv4 or IPv6 literal; any other text gives an address without a family.
  static Address tcp(const std::string& ip, uint16_t port);
  // `path` has at most 107 bytes; a longer one gives an address without a family.
  static Address unixPath(const std::string& path);

  sa_family_t family() const { return any_.sa_family; }
  bool isTcp() const { return family() == AF_INET || family() == AF_INET6; }
  uint32_t cid() const { return vm_.svm_cid; }  // vsock only
  uint32_t port() const;                        // vsock and TCP only
  std::string ip() const;                       // TCP only
  std::string path() const;                     // unix only; empty for a peer without a name

  // The same address by way of the hypervisor, whatever guests this machine has; vsock only.
  Address throughHost() const;

  bool operator==(const Address& other) const;

  // Whether the first `bits` of an IP address are those of `network`.
  bool startsWith(const Address& network, unsigned bits) const;
  // Identifies a client: by the CID or the IP address; empty for unix sockets.
  std::string clientKey() const;

  // Turns an IPv4-mapped IPv6 address into its IPv4 address: RFC 4291, section 2.5.5.2.
  void unmap();

  const sockaddr* raw() const { return &any_; }
  sockaddr* raw() { return &any_; }
  socklen_t size() const { return size_; }
  void setSize(socklen_t size) { size_ = size; }
  static constexpr socklen_t kCapacity = sizeof(sockaddr_un);

 private:
  std::string ipBytes() const;

  union {
    sockaddr_un unix_{};  // the largest member, so it zeroes all of them
    sockaddr any_;
    sockaddr_in in4_;
    sockaddr_in6 in6_;
    sockaddr_vm vm_;
  };
  socklen_t size_ = 0;
};

// A descriptor, or the failed call and its errno.
struct Opened {
  UniqueFd fd;
  const char* call = nullptr;
  int error = 0;
};

// Binds and listens with the longest queue that the kernel allows. The file of a unix socket is replaced if
// its process is gone.
Opened listenOn(const Address& address);
// A new descriptor for a listening stream socket that is open already, such as one from systemd.
Opened duplicateListening(int fd);
// The address to which a socket is bound.
Address localAddress(int fd);
// Accepts one waiting connection; error EAGAIN if there is none. `peer` receives its address.
Opened acceptFrom(int listenFd, Address& peer);
// Whether accept(2) would find a waiting connection.
bool hasWaiting(int listenFd);
// Whether the file at a unix address exists and is not a socket.
bool isOtherFile(const Address& address);
// Removes the file of a unix listener before it is closed.
void removeSocketFile(const Address& address);

// Prepares a listening socket of the family of `on` for the sockets accepted from it: small writes go at
// once, and a vsock peer may have this many bytes sent and unread. Both ends of a connection must request
// these; 0: the kernel's default.
void prepareAccepted(int listenFd, const Address& on, uint32_t vsockBufferBytes);

// Starts to connect; `vsockBufferBytes` as for `prepareAccepted`. Error 0: connected, which happens at once
// on this machine. EINPROGRESS (with a descriptor): the socket becomes writable when the result is known.
Opened startConnect(const Address& address, uint32_t vsockBufferBytes = 0);
// The result of a connect whose socket became writable: 0 or an errno.
int connectOutcome(int fd);

// The bytes moved, or an errno (EAGAIN if it would block).
struct Moved {
  size_t bytes = 0;
  int error = 0;
};
Moved receive(int fd, void* buffer, size_t size);  // bytes 0 without error: EOF
Moved send(int fd, const void* data, size_t size);
// Whether the peer has sent no unread bytes, and has neither ended nor reset the connection.
bool isQuiet(int fd);

// Passes bytes between two sockets without copying them to user space: splice(2).
class Pipe {
 public:
  static constexpr size_t kBytes = 1024 * 1024;  // the most that a user may request: pipe(7), pipe-max-size

  // Is counted in `count` during its life.
  explicit Pipe(size_t& count);
  ~Pipe() { --count_; }
  explicit operator bool() const { return static_cast<bool>(readEnd_); }

  Moved fillFrom(int socket, size_t size);  // bytes 0 without error: EOF
  Moved drainTo(int socket, size_t size);
  Moved put(const std::string& bytes);
  Moved take(char* buffer, size_t size);

 private:
  size_t& count_;
  UniqueFd readEnd_;
  UniqueFd writeEnd_;
};

// Whether a socket gets several pages of a pipe in one message, as since Linux 6.5, and not one page in
// each. It is tested once.
bool splicesManyPages();

// Makes the kernel detect TCP peers that vanish silently. It has no effect on other families.
void keepAlive(int fd);

// Sends one datagram to the unix socket at `path`; a leading @ means an abstract name. Returns 0 or an
// errno.
int sendDatagram(const std::string& path, const std::string& text);

void shutdownWrite(int fd);
// Makes the coming close(2) of a TCP socket send a RST. It has no effect on other families.
void resetOnClose(int fd);

Opened makePoller();
// Events of one descriptor. Each event has its `token`.
int pollAdd(int poller, int fd, uint32_t events, void* token);
int pollModify(int poller, int fd, uint32_t events, void* token);
void pollRemove(int poller, int fd);
// Waits up to `timeoutMs` (-1: for ever) and returns the number of events; 0 also when interrupted.
int pollWait(int poller, epoll_event* events, int capacity, int timeoutMs);

Opened makeWakeup();
void wake(int wakeupFd);
void clearWakeup(int wakeupFd);

// CLOCK_MONOTONIC in microseconds.
int64_t monotonicMicros();

}  // namespace vsock_proxy
