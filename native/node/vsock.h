// What the kernel tells of AF_VSOCK without a connection: whether there is any, the own CID, and who listens.

#pragma once

#include <cstdint>
#include <vector>

namespace vsock_proxy {

struct VsockSupport {
  // Of socket(AF_VSOCK); 0: one can be made.
  int error = 0;
  // IOCTL_VM_SOCKETS_GET_LOCAL_CID of /dev/vsock, vsock(7); with `cidError` 0.
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

// Those of this network namespace, by sock_diag(7). Returns an errno where the kernel does not tell.
int vsockListeners(std::vector<VsockListener>& found);

}  // namespace vsock_proxy
