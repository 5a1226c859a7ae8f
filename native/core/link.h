// The two sockets of a connection, with a pump in each direction. The relay and the exchange both use it.

#pragma once

#include <functional>

#include "loop.h"
#include "messages.h"
#include "pump.h"

namespace vsock_proxy {

struct ConnectionTimeouts {
  Micros connect = 0;
  Micros idle = 0;  // 0: no limit
  Micros head = 0;
  // How long a connection to an HTTP server is kept without a request; 0: not at all.
  Micros reuse = 0;
  // After this long without a byte a connection gets TCP keepalive. Most connections end earlier, and never
  // need these system calls.
  Micros quiet = 60 * 1000 * 1000;
};

// One of the two sockets, with its interest in epoll.
struct Side;

// Receives events of both sides and of the deadline.
class LinkObserver {
 public:
  virtual void onSideReady(Side& side, uint32_t events) = 0;
  virtual void onDeadline() = 0;

 protected:
  ~LinkObserver() = default;
};

struct Side final : Watch {
  explicit Side(LinkObserver& to) : observer(to) {}
  void onReady(uint32_t events) override { observer.onSideReady(*this, events); }
  LinkObserver& observer;
  UniqueFd fd;
  bool watched = false;  // epoll reports errors and hang-ups whatever the interest is
  uint32_t interest = 0;
  bool hungUp = false;  // errors and hang-ups were reported, and nothing else can come
  bool keptAlive = false;
};

struct Link {
  Link(Loop& on, LinkObserver& observer, UniqueFd accepted, const ConnectionTimeouts& limits);
  ~Link() { loop.disarm(deadline); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Watches a side for these events. Returns 0 or an errno.
  int watch(Side& side, bool watched, uint32_t interest);
  // Moves what can be moved now, and notes the time. Returns the errno of a failed source, else 0.
  int move(Pump& pump, Side& source, Side& sink);
  // Reads and drops bytes of a side. With TCP, a close(2) with unread bytes is a reset, which destroys what
  // the peer has not received yet. `from` is the pump that reads from the side.
  void discardUnread(const Side& side, const Pump& from);
  // The errno of a reset that reads as an EOF of `source`; 0: it is an EOF. The kernel reports a reset only
  // once, and a write to the source, by the pump `reverse`, may have got it: passing it on as an EOF would
  // make a cut answer look complete. After EPIPE it is an EOF: the peer closed in order, and did not wait for
  // the remaining bytes. recv(2) on vsock checks the state before the error, so the end of a virtual machine
  // reads as an EOF, too.
  static int resetBehindEof(const Side& source, const Pump& reverse, sa_family_t family);
  // Closes a side, which is then as new.
  void close(Side& side);

  // No byte has passed for the allowed time.
  bool isIdleTooLong() const { return timeouts.idle != 0 && activeAt + timeouts.idle <= loop.now(); }
  // Makes the kernel check whether the peers exist, after a long silence.
  void keepAliveIfQuiet();
  void armQuietDeadline(Micros atLatest = INT64_MAX);

  Party partyOf(const Side& side) const { return &side == &client ? Party::Client : Party::Server; }

  Loop& loop;
  const ConnectionTimeouts timeouts;
  Micros activeAt;  // when the last byte passed
  Timer deadline;
  Side client;
  Side server;
  Pump up;    // client → server
  Pump down;  // server → client
};

}  // namespace vsock_proxy
