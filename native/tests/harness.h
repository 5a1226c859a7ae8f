// Tools for tests of the engine: clients and servers on loopback, and the engine with its events.

#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <thread>

#include "../core/engine.h"
#include "check.h"

using namespace vsock_proxy;

constexpr int kPatienceSeconds = 20;
constexpr Micros kSecond = 1000 * 1000;
inline const std::string kSocketPath = "/tmp/vsock-proxy-test-" + std::to_string(getpid()) + ".sock";

// A blocking end of a connection. No call waits longer than kPatienceSeconds.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {
    CHECK(fd >= 0);
    const timeval patience{kPatienceSeconds, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  }
  static Peer connect(const Address& to) {
    return connected(socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0), to);
  }

  static Peer connectFrom(const char* ip, const Address& to) {
    const int fd = socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    const Address from = Address::tcp(ip, 0);
    CHECK(bind(fd, from.raw(), from.size()) == 0);
    return connected(fd, to);
  }

  void write(const std::string& data) const {
    for (size_t sent = 0; sent < data.size();) {
      const Moved moved = vsock_proxy::send(fd_.get(), data.data() + sent, data.size() - sent);
      CHECK_EQ(moved.error, 0);
      sent += moved.bytes;
    }
  }
  // Writes from `sent` on, as far as it can. Returns 0 or the errno.
  int tryWrite(const std::string& data, size_t& sent) const {
    const Moved moved = vsock_proxy::send(fd_.get(), data.data() + sent, data.size() - sent);
    sent += moved.bytes;
    return moved.error;
  }
  void endWriting() const { shutdownWrite(fd_.get()); }
  void endReading() const { shutdown(fd_.get(), SHUT_RD); }
  // Up to `size` bytes: fewer only at EOF or error. `error` receives the errno, 0 at EOF.
  std::string read(size_t size, int* error = nullptr) const {
    std::string all;
    char buffer[64 * 1024];
    if (error != nullptr) *error = 0;
    while (all.size() < size) {
      const Moved moved = resetAtOnce_
                              ? Moved{0, ECONNRESET}
                              : receive(fd_.get(), buffer, std::min(sizeof buffer, size - all.size()));
      if (moved.error == EAGAIN) check::fail(__FILE__, __LINE__, "a read waited too long");
      if (moved.error != 0 && error == nullptr) check::fail(__FILE__, __LINE__, std::strerror(moved.error));
      if (moved.error != 0) *error = moved.error;
      if (moved.error != 0 || moved.bytes == 0) break;
      all.append(buffer, moved.bytes);
    }
    return all;
  }
  std::string readAll() const { return read(SIZE_MAX); }
  int readError() const {
    int error = 0;
    read(1 << 20, &error);
    return error;
  }
  bool readable() const {
    pollfd query{fd_.get(), POLLIN, 0};
    return poll(&query, 1, 0) > 0;
  }
  // Whether a write can go on within this time.
  bool writable(int milliseconds) const {
    pollfd query{fd_.get(), POLLOUT, 0};
    return poll(&query, 1, milliseconds) > 0;
  }
  void close() { fd_.reset(); }
  void reset() {
    resetOnClose(fd_.get());
    fd_.reset();
  }

 private:
  static Peer connected(int fd, const Address& to) {
    Peer peer(fd);
    if (::connect(fd, to.raw(), to.size()) == 0) return peer;
    CHECK_EQ(errno, ECONNRESET);
    peer.resetAtOnce_ = true;
    return peer;
  }

  UniqueFd fd_;
  bool resetAtOnce_ = false;  // before connect(2) returned, which told it in place of a read
};

// A TCP server on loopback. `backlog` < 0: the port is bound, and connecting is refused.
class Server {
 public:
  explicit Server(const char* ip = "127.0.0.1", int backlog = 128) {
    address_ = Address::tcp(ip, 0);
    fd_.reset(socket(address_.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(bind(fd_.get(), address_.raw(), address_.size()) == 0);
    socklen_t size = Address::kCapacity;
    CHECK(getsockname(fd_.get(), address_.raw(), &size) == 0);
    if (backlog >= 0) listen(backlog);
  }
  void listen(int backlog = 128) const { CHECK(::listen(fd_.get(), backlog) == 0); }
  Peer accept() const {
    pollfd query{fd_.get(), POLLIN, 0};
    CHECK(poll(&query, 1, kPatienceSeconds * 1000) == 1);
    return Peer(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }
  const Address& address() const { return address_; }

 private:
  Address address_;
  UniqueFd fd_;
};

// The engine, and its events as they come.
class Plane {
 public:
  explicit Plane(unsigned threads = 2) : engine([this] { collect(); }) { CHECK_EQ(engine.start(threads), 0); }

  CloseRecord nextClose() { return next<CloseRecord>(); }
  Fault nextFault() { return next<Fault>(); }
  DecisionRequest nextRequest() { return next<DecisionRequest>(); }
  template <class One>
  One next() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      for (auto event = events_.begin(); event != events_.end(); ++event) {
        if (!std::holds_alternative<One>(*event)) continue;
        One found = std::get<One>(*event);
        events_.erase(event);
        return found;
      }
      if (changed_.wait_for(lock, std::chrono::seconds(kPatienceSeconds)) == std::cv_status::timeout) {
        check::fail(__FILE__, __LINE__, std::string("no event of kind ") + nameOf(kindOf<One>()));
      }
    }
  }
  size_t pending() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return events_.size();
  }

 private:
  void collect() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Event& event : engine.takeEvents()) events_.push_back(std::move(event));
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> events_;

 public:
  Engine engine;  // the last member: its threads use the others
};

inline ListenSpec spec(const Address& on = Address::unixPath(kSocketPath)) {
  ListenSpec spec;
  spec.on = on;
  spec.limits.connections = 1000;
  spec.timeouts.connect = 10 * kSecond;
  spec.timeouts.head = 10 * kSecond;
  spec.report = ReportKind::Lifecycle;
  return spec;
}

// A plane with one unix listener and its client address.
struct Route {
  explicit Route(std::vector<Address> upstream, const ListenSpec& with = spec()) : on(with.on) {
    const Engine::Listening listening = plane.engine.listen(with);
    CHECK_EQ(listening.error, 0);
    id = listening.id;
    plane.engine.setUpstream(id, std::move(upstream));
  }
  Peer client() const { return Peer::connect(on); }
  Plane plane;
  Address on;
  ListenerId id = 0;
};

// A free TCP port as a listener, so that resets can be seen on the client's side too.
inline ListenSpec tcpSpec() {
  const Server probe;
  return spec(probe.address());
}

inline std::string pattern(size_t size, unsigned seed) {
  std::string text(size, '\0');
  uint32_t state = seed * 2654435761u + 1;
  for (char& byte : text) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return text;
}
