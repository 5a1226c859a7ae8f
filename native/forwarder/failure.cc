#include "failure.h"

#include <cerrno>

#include "../core/socket.h"
#include "text.h"

namespace vsock_proxy {
namespace {

// Lower ports need a capability: ip_unprivileged_port_start(7); for vsock the limit is fixed.
constexpr uint32_t kFirstUnprivilegedPort = 1024;

constexpr const char* kNoVsock =
    "this system has no AF_VSOCK: the kernel's vsock driver is not loaded, or a seccomp profile forbids it";

std::string bindHint(const Address& on, int error) {
  const bool isPrivileged = on.family() != AF_UNIX && on.port() < kFirstUnprivilegedPort;
  switch (error) {
    case EADDRINUSE:
      if (on.family() != AF_UNIX) return "another process listens on this port";
      if (isOtherFile(on)) return "the file exists and is not a socket; listen at another path";
      return "the file exists; if nobody listens on it, remove it: rm '" + escape(on.path()) + "'";
    case EADDRNOTAVAIL:
      if (on.family() == AF_VSOCK)
        return "this machine does not have this CID; vsock:PORT stands for every one that it has";
      return "no network interface of this machine has this address; in an enclave, bring the loopback up: "
             "ip link set lo up";
    case EACCES:
    case EPERM:
      if (isPrivileged)
        return "ports below 1024 need the capability CAP_NET_BIND_SERVICE; use a port from 1024 up";
      return on.family() == AF_VSOCK ? kNoVsock : "";
    case EAFNOSUPPORT:
    case ENODEV:
      return on.family() == AF_VSOCK ? kNoVsock : "";
    case ENOENT:
      return "the directory of the socket does not exist";
    default:
      return "";
  }
}

// For errors that any system call that allocates may return.
std::string resourceHint(int error) {
  switch (error) {
    case EMFILE:
      return "raise the number of open files: ulimit -n";
    case ENFILE:
      return "the whole system has no file left to open: see fs.file-max";
    case ENOBUFS:
    case ENOMEM:
      return "the system is short of memory";
    default:
      return "RUST_LOG=debug tells more of each connection";
  }
}

std::string vsockHint(int error) {
  switch (error) {
    case ECONNRESET:
    case ECONNREFUSED:
      return "nothing listens on this port there; if it is the parent, is vsock-proxy running on it?";
    case ETIMEDOUT:
      return "no machine answers for this CID; the parent of a Nitro Enclave is 3";
    case ENODEV:
      return "no machine has this CID, or this one has no vsock device, or vhost_vsock hides the enclaves "
             "(before Linux 5.11: `rmmod vhost_vsock`); the parent of a Nitro Enclave is 3";
    case ENETUNREACH:
      return "vsock of this network namespace may be its own (net.vsock.ns_mode is local): run it in that of "
             "the host";
    case EAFNOSUPPORT:
    case EACCES:
    case EPERM:
      return kNoVsock;
    default:
      return resourceHint(error);
  }
}

std::string connectHint(const Address& to, int error) {
  if (to.family() == AF_VSOCK) return vsockHint(error);
  switch (error) {
    case ECONNREFUSED:
      return "nothing listens there";
    case ENOENT:
      return "the file of the socket does not exist";
    case EAGAIN:
      return "the queue of the server is full";
    case EACCES:
      return "the socket must be writable for this user";
    case EPERM:
      return "a firewall rule, or a seccomp profile of the container, forbids it";
    case ETIMEDOUT:
      return "nothing answers at this address";
    case ENETUNREACH:
    case EHOSTUNREACH:
      return "there is no route to the address; in an enclave, bring the loopback up: ip link set lo up";
    default:
      return resourceHint(error);
  }
}

}  // namespace

Failure describeBindFailure(const Address& on, int error) {
  return {"Could not bind to " + describe(on) + ": " + describeErrno(error), bindHint(on, error)};
}

Failure describeAcceptFailure(const Address& on, int error) {
  return {"Could not accept a client on " + describe(on) + ": " + describeErrno(error), resourceHint(error)};
}

std::optional<Failure> findFailure(const CloseRecord& record, const Forward& forward) {
  const std::string connecting = "could not connect to " + describeServer(forward.to);
  switch (record.reason) {
    case CloseReason::ConnectFailed:
      return Failure{connecting + ": " + describeErrno(record.error), connectHint(forward.to, record.error)};
    case CloseReason::ConnectTimeout:
      return Failure{connecting + " within " + std::to_string(forward.connectTimeout / 1000) + " ms",
                     connectHint(forward.to, ETIMEDOUT) + "; the deadline is --connect-timeout"};
    case CloseReason::Internal:
      return Failure{std::string("the forwarder itself failed while ") + nameOf(record.phase) + ": " +
                         describeErrno(record.error),
                     resourceHint(record.error)};
    case CloseReason::Finished:
    case CloseReason::Reset:
    case CloseReason::NoUpstream:
    case CloseReason::IdleTimeout:
    case CloseReason::Drained:
    case CloseReason::HeadTimeout:
    case CloseReason::Denied:
    case CloseReason::Malformed:
    case CloseReason::NotAdmitted:
    case CloseReason::ClientLimit:
    case CloseReason::ClientRate:
    case CloseReason::DecisionTimeout:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace vsock_proxy
