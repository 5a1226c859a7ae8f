// The two sockets of a connection, with a pump in each direction: what both kinds of life that a connection
// may lead have in common, the relay and the exchange.

#pragma once

#include <functional>

#include "loop.h"
#include "messages.h"
#include "pump.h"

namespace vsock_proxy {

struct ConnectionTimeouts {
  Micros connect = 0;
  Micros idle = 0;  // 0: none
  Micros head = 0;
  // Without a request, a connection to an HTTP server is kept for so long; 0: for none.
  Micros reuse = 0;
  // After so long without a byte a connection gets TCP keepalive: most end earlier, and never need its
  // system calls.
  Micros quiet = 60 * 1000 * 1000;
};

// One of the two sockets, with what epoll watches of it.
struct Side;

// Hears of both sides and of the deadline.
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
  bool watched = false;  // epoll tells of errors and hang-ups whatever the interest is
  uint32_t interest = 0;
  bool hungUp = false;  // errors and hang-ups have been told: nothing is left to wait for
  bool keptAlive = false;
};

struct Link {
  Link(Loop& on, LinkObserver& observer, UniqueFd accepted, const ConnectionTimeouts& limits);
  ~Link() { loop.disarm(deadline); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Has epoll watch a side for this. Returns 0 or an errno.
  int watch(Side& side, bool watched, uint32_t interest);
  // Moves what can be moved now, and notes when. Returns the errno of a source that failed, else 0.
  int move(Pump& pump, Side& source, Side& sink);
  // Reads what a side has sent and nobody wants: a close(2) with bytes unread is a reset to TCP, and takes
  // what the peer has not received yet with it. `from`: the pump that reads from it.
  void discardUnread(const Side& side, const Pump& from);
  void dropServer();

  // No byte has passed for the time that is allowed.
  bool isIdleTooLong() const { return timeouts.idle != 0 && activeAt + timeouts.idle <= loop.now(); }
  // Has the kernel find out whether the peers are there, if it has been quiet for long.
  void keepAliveIfQuiet();
  void armQuietDeadline(Micros atLatest = INT64_MAX);

  Party partyOf(const Side& side) const { return &side == &client ? Party::Client : Party::Server; }

  Loop& loop;
  const ConnectionTimeouts timeouts;
  Micros activeAt;  // when a byte passed last
  Timer deadline;
  Side client;
  Side server;
  Pump up;    // client → server
  Pump down;  // server → client
};

}  // namespace vsock_proxy
