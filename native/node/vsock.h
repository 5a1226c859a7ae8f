// The kernel's state of AF_VSOCK, without a connection: whether it works, the own CID, and the listeners.

#pragma once

#include <cstdint>
#include <vector>

namespace vsock_proxy {

struct VsockSupport {
  // The errno of socket(AF_VSOCK); 0: sockets work.
  int error = 0;
  // IOCTL_VM_SOCKETS_GET_LOCAL_CID of /dev/vsock, vsock(7); valid if `cidError` is 0.
  uint32_t cid = 0;
  int cidError = 0;
};

VsockSupport vsockSupport();

struct VsockListener {
  uint32_t cid;
  uint32_t port;
  // As in /proc/PID/fd.
  uint32_t inode;
};

// The listeners of this network namespace, by sock_diag(7). Returns an errno if the kernel does not say.
int vsockListeners(std::vector<VsockListener>& found);

}  // namespace vsock_proxy
