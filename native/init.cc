#include "init.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "socket.h"

namespace vsock_proxy {
namespace {

constexpr char kLoopback[] = "lo";
constexpr uint32_t kMask = 0xff000000;  // of 127.0.0.0/8

ifreq request() {
  ifreq request{};
  std::memcpy(request.ifr_name, kLoopback, sizeof kLoopback);
  return request;
}

ifreq requestWith(uint32_t word) {
  ifreq with = request();
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

  ifreq flags = request();
  if (ioctl(fd.get(), SIOCGIFFLAGS, &flags) < 0) return outcome("SIOCGIFFLAGS", -1);
  if ((flags.ifr_flags & IFF_UP) == 0) {
    flags.ifr_flags |= IFF_UP;
    if (ioctl(fd.get(), SIOCSIFFLAGS, &flags) < 0) return outcome("SIOCSIFFLAGS", -1);
  }

  // The kernel gives a link that has no address 127.0.0.1/8, but leaves a 127.0.0.1/32 as it is.
  ifreq mask = request();
  if (ioctl(fd.get(), SIOCGIFNETMASK, &mask) == 0 && wordOf(mask) == kMask) return {};
  ifreq address = requestWith(INADDR_LOOPBACK);
  if (ioctl(fd.get(), SIOCSIFADDR, &address) < 0) return outcome("SIOCSIFADDR", -1);
  mask = requestWith(kMask);
  return outcome("SIOCSIFNETMASK", ioctl(fd.get(), SIOCSIFNETMASK, &mask));
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
