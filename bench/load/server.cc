// The server role: several listeners on loopback, one for each contender, so that no contender meets the
// TIME_WAIT entries that another one left.
#include "server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <vector>

#include "http.h"
#include "wire.h"

namespace {

// A bulk connection has a thread of its own, with plain blocking calls: nothing is cheaper.
void serveBulk(Fd connection, char kind) {
  try {
    setPatience(connection.get());
    if (kind == kUpload) {
      const uint64_t bytes = receiveFrames(connection.get());
      writeAll(connection.get(), &bytes, sizeof bytes);
    } else {
      DownloadOrder order;
      readAll(connection.get(), &order, sizeof order);
      const uint64_t sent = sendFrames(connection.get(), std::chrono::milliseconds(order.durationMs));
      uint64_t received;
      readAll(connection.get(), &received, sizeof received);
      writeAll(connection.get(), &sent, sizeof sent);
    }
    // The client closes first once it has everything: some contenders end both directions on the first EOF.
    char end;
    recv(connection.get(), &end, 1, 0);
  } catch (const std::runtime_error& error) {
    std::fprintf(stderr, "server: %s\n", error.what());
  }
}

class Server {
 public:
  explicit Server(std::vector<Fd> listeners)
      : listeners_(std::move(listeners)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_.get() < 0) fail("epoll_create1");
    for (const Fd& listener : listeners_) {
      watch(listener.get());
      isListener_.resize(static_cast<size_t>(listener.get()) + 1, false);
      isListener_[static_cast<size_t>(listener.get())] = true;
    }
  }

  [[noreturn]] void run() {
    std::vector<epoll_event> events(256);
    while (true) {
      const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<size_t>(i)].data.fd;
        if (static_cast<size_t>(fd) < isListener_.size() && isListener_[static_cast<size_t>(fd)]) {
          acceptAll(fd);
        } else {
          echo(fd);
        }
      }
    }
  }

 private:
  void watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
  }

  void acceptAll(int listener) {
    while (true) {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      watch(fd);
    }
  }

  void echo(int fd) {
    const ssize_t n = recv(fd, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
      close(fd);
      return;
    }
    const char kind = buffer_[0];
    const bool isBulk = n == 1 && (kind == kUpload || kind == kDownload);
    if (isBulk) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    const std::string response = responseTo(buffer_.data(), static_cast<size_t>(n));
    if (!response.empty()) {
      if (send(fd, response.data(), response.size(), MSG_NOSIGNAL) < 0) close(fd);
      return;
    }
    if (send(fd, buffer_.data(), static_cast<size_t>(n), MSG_NOSIGNAL) != n) {
      close(fd);
    } else if (isBulk) {
      std::thread(serveBulk, Fd(fd), kind).detach();
    }
  }

  std::vector<Fd> listeners_;
  std::vector<bool> isListener_;
  Fd epoll_;
  std::vector<char> buffer_ = std::vector<char>(64 * 1024);
};

}  // namespace

int runServer(int listenerCount) {
  std::vector<Fd> listeners;
  std::string ports;
  for (int i = 0; i < listenerCount; ++i) {
    uint16_t port;
    listeners.push_back(listenOnLoopback(&port));
    ports += (i == 0 ? "" : ",") + std::to_string(port);
  }
  Server server(std::move(listeners));
  std::printf("{\"ports\":[%s]}\n", ports.c_str());
  std::fflush(stdout);
  server.run();
}
