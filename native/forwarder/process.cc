#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <ctime>

namespace vsock_proxy {
namespace {

bool writeIfRoom(int fd, const std::string& text) {
  return writeWithoutWaiting(fd, text.data(), text.size()) == static_cast<int>(text.size());
}

}  // namespace

void openStandardStreams() {
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    if (fcntl(stream, F_GETFD) >= 0 || errno != EBADF) continue;
    // open(2) returns the lowest number that is free. Without /dev it is a file that cannot be read or
    // written.
    if (open("/dev/null", O_RDWR) < 0) open("/", O_PATH);
  }
}

void nameProcess(const char* name) { prctl(PR_SET_NAME, name); }

Opened openStopSignals() {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  sigaddset(&stop, SIGINT);
  sigprocmask(SIG_BLOCK, &stop, nullptr);
  UniqueFd fd(signalfd(-1, &stop, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd) return {UniqueFd(), "signalfd", errno};
  return {std::move(fd)};
}

int takeSignal(int fd) {
  signalfd_siginfo info{};
  return read(fd, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

std::string signalName(int signal) { return std::string("SIG") + sigabbrev_np(signal); }

void raiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int openForItself(int fd) {
  struct stat found {};
  if (fstat(fd, &found) < 0 || !(S_ISFIFO(found.st_mode) || isatty(fd) == 1)) return fd;
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const int own = open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  return own < 0 ? fd : own;
}

int writeWithoutWaiting(int fd, const void* data, size_t size) {
  // The journal, for example, reads from a socket.
  ssize_t written = ::send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (written < 0 && errno == ENOTSOCK) {
    pollfd query{fd, POLLOUT, 0};
    if (poll(&query, 1, 0) != 1 || (query.revents & POLLOUT) == 0) return -EAGAIN;
    // A pipe that poll(2) reports as writable takes this many bytes without waiting.
    written = write(fd, data, std::min<size_t>(size, PIPE_BUF));
  }
  return written < 0 ? -errno : static_cast<int>(written);
}

bool writeStdout(const std::string& text) { return writeIfRoom(STDOUT_FILENO, text); }
bool writeStderr(const std::string& text) {
  static const int own = openForItself(STDERR_FILENO);
  return writeIfRoom(own, text);
}

int64_t wallSeconds() { return time(nullptr); }

void exitNow(int status) { _exit(status); }

}  // namespace vsock_proxy
