#include "vsock.h"

#include <sys/socket.h>  // first, because linux/vm_sockets.h of Linux 6.1 and older needs it without including it

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/vm_sockets.h>
#include <linux/vm_sockets_diag.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "../core/socket.h"

namespace vsock_proxy {
namespace {

// TCP_LISTEN of the kernel, which vsock_diag also uses.
constexpr uint32_t kListen = 10;
constexpr timeval kPatience{2, 0};

struct Request {
  nlmsghdr header;
  vsock_diag_req body;
};

int ask(int fd) {
  Request request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = AF_VSOCK;
  request.body.vdiag_states = 1U << kListen;
  return ::send(fd, &request, sizeof request, 0) < 0 ? errno : 0;
}

// Takes one message. Returns true if it was the last one.
bool take(const nlmsghdr* message, std::vector<VsockListener>& found, int& error) {
  if (message->nlmsg_type == NLMSG_DONE) return true;
  if (message->nlmsg_type == NLMSG_ERROR) {
    error = -static_cast<const nlmsgerr*>(NLMSG_DATA(message))->error;
    return true;
  }
  if (message->nlmsg_len < NLMSG_LENGTH(sizeof(vsock_diag_msg))) return false;
  const auto* socket = static_cast<const vsock_diag_msg*>(NLMSG_DATA(message));
  if (socket->vdiag_state == kListen) {
    found.push_back({socket->vdiag_src_cid, socket->vdiag_src_port, socket->vdiag_ino});
  }
  return false;
}

}  // namespace

VsockSupport vsockSupport() {
  VsockSupport support;
  const UniqueFd fd(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
  support.error = fd ? 0 : errno;
  const UniqueFd device(open("/dev/vsock", O_RDONLY | O_CLOEXEC));
  if (!device || ioctl(device.get(), IOCTL_VM_SOCKETS_GET_LOCAL_CID, &support.cid) < 0) {
    support.cidError = errno;
  }
  return support;
}

int vsockListeners(std::vector<VsockListener>& found) {
  const UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return errno;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  if (const int error = ask(fd.get()); error != 0) return error;
  alignas(nlmsghdr) char buffer[32 * 1024];
  for (;;) {
    const ssize_t length = recv(fd.get(), buffer, sizeof buffer, 0);
    if (length < 0) return errno;
    auto left = static_cast<unsigned>(length);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer);
    for (int error = 0; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
      if (take(message, found, error)) return error;
    }
  }
}

}  // namespace vsock_proxy
