#include "process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
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
constexpr uint32_t kMask = 0xff000000;  // the mask of 127.0.0.0/8

constexpr int kLastStandardStream = 2;

// MFD_EXEC. Kernels before 6.3 neither have it nor need it.
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

// rtnetlink(7): a message to add one address, with room for an address of either family in its attributes.
struct AddressRequest {
  nlmsghdr header;
  ifaddrmsg body;
  char attributes[2 * RTA_SPACE(sizeof(in6_addr))];
};

void append(AddressRequest& request, unsigned short type, const in6_addr& ip, size_t bytes) {
  rtattr attribute{static_cast<unsigned short>(RTA_LENGTH(bytes)), type};
  char* end = reinterpret_cast<char*>(&request) + request.header.nlmsg_len;
  std::memcpy(end, &attribute, sizeof attribute);
  std::memcpy(end + RTA_LENGTH(0), &ip, bytes);
  request.header.nlmsg_len += RTA_SPACE(bytes);
}

// The kernel answers during the call that sends: 0 or an errno.
int askNetlink(const AddressRequest& request) {
  const UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return errno;
  struct {
    nlmsghdr header;
    nlmsgerr body;
    char request[sizeof(AddressRequest)];
  } reply{};
  if (::send(fd.get(), &request, request.header.nlmsg_len, 0) < 0) return errno;
  if (::recv(fd.get(), &reply, sizeof reply, 0) < 0) return errno;
  return reply.header.nlmsg_type == NLMSG_ERROR ? -reply.body.error : EPROTO;
}

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

  // The kernel gives 127.0.0.1/8 to a link without addresses, but leaves a 127.0.0.1/32 as it is.
  ifreq mask = request(kLoopback);
  if (ioctl(fd.get(), SIOCGIFNETMASK, &mask) < 0 || wordOf(mask) != kMask) {
    ifreq address = requestWith(kLoopback, INADDR_LOOPBACK);
    if (ioctl(fd.get(), SIOCSIFADDR, &address) < 0) return outcome("SIOCSIFADDR", -1);
    mask = requestWith(kLoopback, kMask);
    if (ioctl(fd.get(), SIOCSIFNETMASK, &mask) < 0) return outcome("SIOCSIFNETMASK", -1);
  }

  return {};
}

int addLoopbackAddress(const std::string& ip, unsigned prefixLength) {
  AddressRequest request{};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.body);
  request.header.nlmsg_type = RTM_NEWADDR;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  request.body.ifa_family = ip.find(':') == std::string::npos ? AF_INET : AF_INET6;
  request.body.ifa_prefixlen = static_cast<unsigned char>(prefixLength);
  request.body.ifa_scope = RT_SCOPE_HOST;
  request.body.ifa_index = if_nametoindex(kLoopback);
  in6_addr address{};
  if (inet_pton(request.body.ifa_family, ip.c_str(), &address) != 1) return EINVAL;
  const size_t bytes = request.body.ifa_family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
  append(request, IFA_LOCAL, address, bytes);
  append(request, IFA_ADDRESS, address, bytes);
  const int error = askNetlink(request);
  return error == EEXIST ? 0 : error;
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
    // The child is first looked at, and then reaped, because the status of `own` is for another caller.
    if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) < 0) return;
    if (ended.si_pid == 0 || ended.si_pid == own) return;
    if (waitpid(ended.si_pid, nullptr, WNOHANG) < 0) return;
  }
}

}  // namespace vsock_proxy
