#include "process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "../core/socket.h"

namespace vsock_proxy {
namespace {

constexpr const char* kLoopback = "lo";
constexpr uint32_t kMask = 0xff000000;  // of 127.0.0.0/8

constexpr const char* kSecond = "lo:1";
constexpr uint32_t kSecondAddress = 0x7f400000;  // 127.64.0.0

constexpr int kLastStandardStream = 2;

// MFD_EXEC, which kernels before 6.3 neither know nor need.
constexpr unsigned kExecutable = 0x10;

ifreq request(const char* name) {
  ifreq request{};
  std::memcpy(request.ifr_name, name, std::strlen(name));
  return request;
}

ifreq requestWith(const char* name, uint32_t word) {
  ifreq with = request(name);
  sockaddr_in value{};
  value.sin_family = AF_INET;
  value.sin_addr.s_addr = htonl(word);
  std::memcpy(&with.ifr_addr, &value, sizeof value);
  return with;
}

uint32_t wordOf(const ifreq& request) {
  sockaddr_in value{};
  std::memcpy(&value, &request.ifr_addr, sizeof value);
  return ntohl(value.sin_addr.s_addr);
}

Outcome outcome(const char* call, int result) { return {call, result < 0 ? errno : 0}; }

}  // namespace

Outcome bringUpLoopback() {
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return outcome("socket", -1);

  ifreq flags = request(kLoopback);
  if (ioctl(fd.get(), SIOCGIFFLAGS, &flags) < 0) return outcome("SIOCGIFFLAGS", -1);
  if ((flags.ifr_flags & IFF_UP) == 0) {
    flags.ifr_flags |= IFF_UP;
    if (ioctl(fd.get(), SIOCSIFFLAGS, &flags) < 0) return outcome("SIOCSIFFLAGS", -1);
  }

  // The kernel gives a link that has no address 127.0.0.1/8, but leaves a 127.0.0.1/32 as it is.
  ifreq mask = request(kLoopback);
  if (ioctl(fd.get(), SIOCGIFNETMASK, &mask) < 0 || wordOf(mask) != kMask) {
    ifreq address = requestWith(kLoopback, INADDR_LOOPBACK);
    if (ioctl(fd.get(), SIOCSIFADDR, &address) < 0) return outcome("SIOCSIFADDR", -1);
    mask = requestWith(kLoopback, kMask);
    if (ioctl(fd.get(), SIOCSIFNETMASK, &mask) < 0) return outcome("SIOCSIFNETMASK", -1);
  }

  // Where 127.0.0.1 is the only address, glibc takes IPv4 for not configured, and finds no IPv4 addresses for
  // who asks for AI_ADDRCONFIG and IPv4 alone: getaddrinfo(3). Where this is not permitted, there is a real
  // network.
  ifreq second = requestWith(kSecond, kSecondAddress);
  ioctl(fd.get(), SIOCSIFADDR, &second);
  return {};
}

PipeEnds openPipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return {-1, -1, errno};
  return {ends[0], ends[1], 0};
}

void unblockSignals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

MemoryFile openMemoryFile(const char* name) {
  int fd = memfd_create(name, MFD_CLOEXEC | kExecutable);
  if (fd < 0 && errno == EINVAL) fd = memfd_create(name, MFD_CLOEXEC);
  return {fd, fd < 0 ? errno : 0};
}

int execute(int program, const std::vector<std::string>& words) {
  for (int stream = 0; stream <= kLastStandardStream; ++stream) fcntl(stream, F_SETFD, 0);
  unblockSignals();
  for (const int ignored : {SIGPIPE, SIGXFSZ}) signal(ignored, SIG_DFL);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  fexecve(program, arguments.data(), environ);
  return errno;
}

void reapOrphans(pid_t own) {
  for (;;) {
    siginfo_t ended{};
    // Looked at first and taken afterwards: the status of `own` is for somebody else.
    if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) < 0) return;
    if (ended.si_pid == 0 || ended.si_pid == own) return;
    if (waitpid(ended.si_pid, nullptr, WNOHANG) < 0) return;
  }
}

}  // namespace vsock_proxy
