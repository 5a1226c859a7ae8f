#include "start.h"

#include "http.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <stdexcept>

namespace {

using std::chrono::duration;
using std::chrono::steady_clock;

double millisSince(steady_clock::time_point start) {
  return duration<double, std::milli>(steady_clock::now() - start).count();
}

// A child process, without its standard output, that does not outlive this object.
class Child {
 public:
  explicit Child(char* const* command) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    const int error = posix_spawn(&pid_, command[0], &actions, nullptr, command, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
      errno = error;
      fail("posix_spawn");
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) kill(pid_, SIGTERM);
    wait();
  }
  int wait() {
    int status = 0;
    if (pid_ > 0) waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
};

// Hears of a file that appears, be it created or moved into place.
class Appearance {
 public:
  explicit Appearance(const std::string& path) : inotify_(inotify_init1(IN_CLOEXEC)) {
    const size_t slash = path.rfind('/');
    name_ = path.substr(slash + 1);
    if (inotify_.get() < 0) fail("inotify_init1");
    if (inotify_add_watch(inotify_.get(), path.substr(0, slash).c_str(), IN_CREATE | IN_MOVED_TO) < 0) {
      fail("inotify_add_watch");
    }
  }

  void await() {
    const auto end = steady_clock::now() + kPatience;
    while (!readEvents()) {
      if (steady_clock::now() >= end) throw std::runtime_error("the socket never appeared");
    }
  }

 private:
  // Waits for events; whether one was for the name.
  bool readEvents() {
    pollfd ready{inotify_.get(), POLLIN, 0};
    const auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(kPatience);
    if (poll(&ready, 1, static_cast<int>(patience.count())) != 1) return false;
    alignas(inotify_event) char buffer[4096];
    const ssize_t size = read(inotify_.get(), buffer, sizeof buffer);
    for (ssize_t at = 0; at < size;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      if (event->len > 0 && name_ == event->name) return true;
      at += static_cast<ssize_t>(sizeof *event + event->len);
    }
    return false;
  }

  Fd inotify_;
  std::string name_;
};

// The path exists from bind(2) on, but until listen(2) a connect is refused: the gap is microseconds wide. Of
// a TCP port nobody tells when it is there.
Fd connectOnceListening(const Endpoint& proxy) {
  const auto end = steady_clock::now() + kPatience;
  while (true) {
    try {
      return connectTo(proxy);
    } catch (const std::runtime_error&) {
      if (steady_clock::now() >= end) throw;
      sched_yield();
    }
  }
}

void exchangeFirstByte(const Endpoint& proxy) {
  const Fd connection = connectOnceListening(proxy);
  if (proxy.prelude.answer == Prelude::Answer::Denial) return;
  if (proxy.prelude.answer == Prelude::Answer::Requests) return Requester(proxy).get(0);
  char byte = kEcho;
  writeAll(connection.get(), &byte, 1);
  readAll(connection.get(), &byte, 1);
}

}  // namespace

void awaitReady(const Endpoint& proxy) {
  if (!proxy.unixPath.empty()) {
    Appearance appearance(proxy.unixPath);
    if (access(proxy.unixPath.c_str(), F_OK) != 0) appearance.await();
  }
  exchangeFirstByte(proxy);
  std::puts("{}");
}

void measureStart(const Endpoint& proxy, char* const* command) {
  Appearance appearance(proxy.unixPath);
  const auto start = steady_clock::now();
  const Child child(command);
  appearance.await();
  exchangeFirstByte(proxy);
  std::printf("{\"millis\":%.3f}\n", millisSince(start));
}

void measureRun(char* const* command) {
  const auto start = steady_clock::now();
  Child child(command);
  const int status = child.wait();
  const double millis = millisSince(start);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error("the command failed");
  std::printf("{\"millis\":%.3f}\n", millis);
}
