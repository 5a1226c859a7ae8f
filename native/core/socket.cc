#include "socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace vsock_proxy {
namespace {

// A silently vanished TCP peer is detected after 10 + 6 × 10 seconds.
constexpr int kKeepaliveIdleSeconds = 10;
constexpr int kKeepaliveIntervalSeconds = 10;
constexpr int kKeepaliveProbes = 6;

void setOption(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

Opened failed(const char* call) { return {UniqueFd(), call, errno}; }

Opened streamSocket(sa_family_t family) {
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return failed("socket");
  return {std::move(fd)};
}

// The type of the file at a unix address; 0 if it is unknown.
mode_t fileType(const Address& address) {
  struct statx file {};
  if (address.family() != AF_UNIX) return 0;
  const int unknown = statx(AT_FDCWD, address.path().c_str(), AT_SYMLINK_NOFOLLOW, STATX_TYPE, &file);
  return unknown < 0 ? 0 : file.stx_mode & S_IFMT;
}

// Whether a unix socket's file was left by a process that was killed, and has no listener.
bool isLeftBehind(const Address& address) {
  if (fileType(address) != S_IFSOCK) return false;
  const Opened probe = streamSocket(AF_UNIX);
  return probe.fd && connect(probe.fd.get(), address.raw(), address.size()) < 0 && errno == ECONNREFUSED;
}

int bindTo(int fd, const Address& address) {
  const int bound = bind(fd, address.raw(), address.size());
  if (bound == 0 || errno != EADDRINUSE) return bound;
  if (isLeftBehind(address)) removeSocketFile(address);
  return bind(fd, address.raw(), address.size());
}

template <class Call>
auto retrying(Call call) {
  for (;;) {
    auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

template <class Call>
Moved moved(Call call) {
  const ssize_t bytes = retrying(call);
  if (bytes < 0) return {0, errno};
  return {static_cast<size_t>(bytes), 0};
}

}  // namespace

void UniqueFd::reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

int Reserve::hold() {
  if (!fd_) fd_.reset(eventfd(0, EFD_CLOEXEC));
  return fd_ ? 0 : errno;
}

bool Reserve::giveUp() {
  const bool was = static_cast<bool>(fd_);
  fd_.reset();
  return was;
}

Address Address::vsock(uint32_t cid, uint32_t port) {
  Address address;
  address.vm_ = {};
  address.vm_.svm_family = AF_VSOCK;
  address.vm_.svm_cid = cid;
  address.vm_.svm_port = port;
  address.size_ = sizeof(sockaddr_vm);
  return address;
}

Address Address::throughHost() const {
  Address flagged = *this;
  flagged.vm_.svm_flags = VMADDR_FLAG_TO_HOST;
  return flagged;
}

Address Address::tcp(const std::string& ip, uint16_t port) {
  Address address;
  if (inet_pton(AF_INET, ip.c_str(), &address.in4_.sin_addr) == 1) {
    address.in4_.sin_family = AF_INET;
    address.in4_.sin_port = htons(port);
    address.size_ = sizeof(sockaddr_in);
  } else if (inet_pton(AF_INET6, ip.c_str(), &address.in6_.sin6_addr) == 1) {
    address.in6_.sin6_family = AF_INET6;
    address.in6_.sin6_port = htons(port);
    address.size_ = sizeof(sockaddr_in6);
  }
  return address;
}

Address Address::unixPath(const std::string& path) {
  Address address;
  if (path.size() >= sizeof address.unix_.sun_path) return address;
  address.unix_.sun_family = AF_UNIX;
  std::memcpy(address.unix_.sun_path, path.c_str(), path.size() + 1);
  address.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

uint32_t Address::port() const {
  switch (family()) {
    case AF_VSOCK:
      return vm_.svm_port;
    case AF_INET:
      return ntohs(in4_.sin_port);
    case AF_INET6:
      return ntohs(in6_.sin6_port);
    default:
      return 0;
  }
}

std::string Address::ip() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (family() == AF_INET) inet_ntop(AF_INET, &in4_.sin_addr, text, sizeof text);
  if (family() == AF_INET6) inet_ntop(AF_INET6, &in6_.sin6_addr, text, sizeof text);
  return text;
}

std::string Address::path() const {
  if (size_ <= offsetof(sockaddr_un, sun_path)) return "";
  return std::string(unix_.sun_path, strnlen(unix_.sun_path, size_ - offsetof(sockaddr_un, sun_path)));
}

std::string Address::ipBytes() const {
  if (family() == AF_INET) return {reinterpret_cast<const char*>(&in4_.sin_addr), sizeof in4_.sin_addr};
  if (family() == AF_INET6) return {reinterpret_cast<const char*>(&in6_.sin6_addr), sizeof in6_.sin6_addr};
  return "";
}

bool Address::operator==(const Address& other) const {
  return size_ == other.size_ && std::memcmp(raw(), other.raw(), size_) == 0;
}

bool Address::startsWith(const Address& network, unsigned bits) const {
  if (!isTcp() || family() != network.family()) return false;
  const std::string ours = ipBytes();
  const std::string theirs = network.ipBytes();
  const size_t whole = bits / 8;
  if (whole > ours.size() || ours.compare(0, whole, theirs, 0, whole) != 0) return false;
  if (bits % 8 == 0) return true;
  return whole < ours.size() && ((ours[whole] ^ theirs[whole]) & (0xff00 >> bits % 8) & 0xff) == 0;
}

std::string Address::clientKey() const {
  if (family() != AF_VSOCK) return ipBytes();
  return {reinterpret_cast<const char*>(&vm_.svm_cid), sizeof vm_.svm_cid};
}

void Address::unmap() {
  if (family() != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6_.sin6_addr)) return;
  sockaddr_in in4{};
  in4.sin_family = AF_INET;
  in4.sin_port = in6_.sin6_port;
  std::memcpy(&in4.sin_addr, in6_.sin6_addr.s6_addr + 12, sizeof in4.sin_addr);
  unix_ = {};
  in4_ = in4;
  size_ = sizeof in4;
}

Opened listenOn(const Address& address) {
  Opened opened = streamSocket(address.family());
  if (!opened.fd) return opened;
  const int fd = opened.fd.get();
  if (address.isTcp()) setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.family() == AF_INET6) setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (bindTo(fd, address) < 0) return failed("bind");
  if (listen(fd, SOMAXCONN) < 0) return failed("listen");
  return opened;
}

Opened duplicateListening(int fd) {
  int listening = 0;
  int type = 0;
  socklen_t size = sizeof(int);
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0) return failed("getsockopt");
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0) return failed("getsockopt");
  if (listening == 0 || type != SOCK_STREAM) return {UniqueFd(), "getsockopt", EINVAL};
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) return failed("fcntl");
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return failed("fcntl");
  return {std::move(copy)};
}

Address localAddress(int fd) {
  Address address;
  socklen_t size = Address::kCapacity;
  if (getsockname(fd, address.raw(), &size) < 0) return {};
  address.setSize(size);
  return address;
}

Opened acceptFrom(int listenFd, Address& peer) {
  socklen_t size = Address::kCapacity;
  UniqueFd fd(retrying([&] {
    size = Address::kCapacity;
    return accept4(listenFd, peer.raw(), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  }));
  if (!fd) return failed("accept");
  peer.setSize(size);
  peer.unmap();  // an IPv4 client of a dual-stack socket
  return {std::move(fd)};
}

bool hasWaiting(int listenFd) {
  pollfd query{listenFd, POLLIN, 0};
  return retrying([&] { return poll(&query, 1, 0); }) > 0;
}

bool isOtherFile(const Address& address) {
  const mode_t type = fileType(address);
  return type != 0 && type != S_IFSOCK;
}

void removeSocketFile(const Address& address) {
  if (address.family() == AF_UNIX) unlink(address.path().c_str());
}

namespace {

void sizeVsockBuffer(int fd, uint32_t bytes) {
  if (bytes == 0) return;
  const uint64_t size = bytes;
  // The kernel cuts the size to its maximum, which is 256 KiB unless raised before.
  setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &size, sizeof size);
  setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &size, sizeof size);
}

Opened connectTo(const Address& address, uint32_t vsockBufferBytes) {
  Opened opened = streamSocket(address.family());
  if (!opened.fd) return opened;
  if (address.family() == AF_VSOCK) sizeVsockBuffer(opened.fd.get(), vsockBufferBytes);
  if (address.isTcp()) setOption(opened.fd.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  // An interrupted connect(2) goes on in the background, like one that would block.
  if (connect(opened.fd.get(), address.raw(), address.size()) < 0) {
    if (errno != EINPROGRESS && errno != EINTR) return failed("connect");
    Address peer;
    socklen_t size = Address::kCapacity;
    if (getpeername(opened.fd.get(), peer.raw(), &size) < 0) opened.error = EINPROGRESS;
  }
  return opened;
}

}  // namespace

void prepareAccepted(int listenFd, const Address& on, uint32_t vsockBufferBytes) {
  if (on.isTcp()) setOption(listenFd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (on.family() == AF_VSOCK) sizeVsockBuffer(listenFd, vsockBufferBytes);
}

Opened startConnect(const Address& address, uint32_t vsockBufferBytes) {
  Opened opened = connectTo(address, vsockBufferBytes);
  if (opened.error != ENODEV || address.family() != AF_VSOCK || address.cid() <= VMADDR_CID_HOST)
    return opened;
  // With vhost_vsock, Linux before 7.1 takes every such CID for a guest of this machine, and does not find
  // the enclaves beside it: vm_sockets.h, VMADDR_FLAG_TO_HOST. Guests are tried first, because the flag
  // would hide them. Linux before 5.11 does not know the flag, and its error then has no meaning.
  Opened beside = connectTo(address.throughHost(), vsockBufferBytes);
  return beside.error == EINVAL ? std::move(opened) : std::move(beside);
}

int connectOutcome(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 ? errno : error;
}

namespace {

// How the end reads on a vsock socket that was shut down for writing after its peer had closed. The
// shutdown clears SOCK_DONE, by which the kernel distinguishes an end from a socket that was never
// connected.
Moved orEnd(const Moved& received) { return received.error == ENOTCONN ? Moved{} : received; }

}  // namespace

Moved receive(int fd, void* buffer, size_t size) {
  return orEnd(moved([&] { return recv(fd, buffer, size, 0); }));
}

Moved send(int fd, const void* data, size_t size) {
  return moved([&] { return ::send(fd, data, size, MSG_NOSIGNAL); });
}

bool isQuiet(int fd) {
  char byte = 0;
  return moved([&] { return recv(fd, &byte, sizeof byte, MSG_PEEK); }).error == EAGAIN;
}

Pipe::Pipe(size_t& count) : count_(count) {
  ++count_;
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return;
  readEnd_.reset(ends[0]);
  writeEnd_.reset(ends[1]);
  // A user with many pipes may get no larger one (pipe-user-pages-soft); any size works.
  fcntl(writeEnd_.get(), F_SETPIPE_SZ, kBytes);
}

Moved Pipe::fillFrom(int socket, size_t size) {
  return orEnd(
      moved([&] { return splice(socket, nullptr, writeEnd_.get(), nullptr, size, SPLICE_F_NONBLOCK); }));
}

// splice(2) has no MSG_NOSIGNAL, so callers must block SIGPIPE.
Moved Pipe::drainTo(int socket, size_t size) {
  return moved([&] { return splice(readEnd_.get(), nullptr, socket, nullptr, size, SPLICE_F_NONBLOCK); });
}

Moved Pipe::put(const std::string& bytes) {
  return moved([&] { return write(writeEnd_.get(), bytes.data(), bytes.size()); });
}

Moved Pipe::take(char* buffer, size_t size) {
  Moved all;
  while (all.bytes < size && all.error == 0) {
    const Moved one = moved([&] { return read(readEnd_.get(), buffer + all.bytes, size - all.bytes); });
    all = {all.bytes + one.bytes, one.bytes == 0 && one.error == 0 ? EPIPE : one.error};
  }
  return all;
}

bool splicesManyPages() {
  static const bool known = [] {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0) return false;
    const UniqueFd to(ends[0]);
    const UniqueFd from(ends[1]);
    size_t pipes = 0;
    Pipe pipe(pipes);
    const std::string pages(2 * static_cast<size_t>(sysconf(_SC_PAGESIZE)), '\0');
    if (!pipe || pipe.put(pages).bytes != pages.size()) return false;
    if (pipe.drainTo(to.get(), pages.size()).error != 0) return false;
    std::string message(pages.size(), '\0');
    return receive(from.get(), &message[0], message.size()).bytes == pages.size();
  }();
  return known;
}

void keepAlive(int fd) {
  setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveIdleSeconds);
  setOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveIntervalSeconds);
  setOption(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepaliveProbes);
}

int sendDatagram(const std::string& path, const std::string& text) {
  Address to = Address::unixPath(path);
  if (to.family() != AF_UNIX) return ENAMETOOLONG;
  if (path[0] == '@') {
    // unix(7): an abstract name begins with a zero byte, and the size of the address is its only end.
    reinterpret_cast<sockaddr_un*>(to.raw())->sun_path[0] = '\0';
    to.setSize(to.size() - 1);
  }
  UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  const Moved sent = moved([&] {
    return sendto(fd.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT, to.raw(), to.size());
  });
  return sent.error;
}

void shutdownWrite(int fd) { shutdown(fd, SHUT_WR); }

void resetOnClose(int fd) {
  const linger abort{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
}

Opened makePoller() {
  UniqueFd fd(epoll_create1(EPOLL_CLOEXEC));
  if (!fd) return failed("epoll_create1");
  return {std::move(fd)};
}

int pollAdd(int poller, int fd, uint32_t events, void* token) {
  epoll_event event{events, {token}};
  return epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0 ? errno : 0;
}

int pollModify(int poller, int fd, uint32_t events, void* token) {
  epoll_event event{events, {token}};
  return epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event) < 0 ? errno : 0;
}

void pollRemove(int poller, int fd) { epoll_ctl(poller, EPOLL_CTL_DEL, fd, nullptr); }

int pollWait(int poller, epoll_event* events, int capacity, int timeoutMs) {
  const int count = epoll_wait(poller, events, capacity, timeoutMs);
  return count < 0 ? 0 : count;
}

Opened makeWakeup() {
  UniqueFd fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!fd) return failed("eventfd");
  return {std::move(fd)};
}

void wake(int wakeupFd) {
  const uint64_t one = 1;
  retrying([&] { return write(wakeupFd, &one, sizeof one); });
}

void clearWakeup(int wakeupFd) {
  uint64_t count = 0;
  retrying([&] { return read(wakeupFd, &count, sizeof count); });
}

int64_t monotonicMicros() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000000 + now.tv_nsec / 1000;
}

}  // namespace vsock_proxy
