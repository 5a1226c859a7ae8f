// One accepted connection, from accept to its close record.
//
//              setUpstream            an address answers             both directions done,
//   Waiting ───────────────► Connecting ───────────────► Relaying ── a reset, a deadline ──► Closed
//      │                         │                                                             ▲
//      └── nothing to dial ──────┴── every address failed, connect deadline ───────────────────┘
//
// A connection on a fixed listener that has its addresses starts in Connecting. Waiting is where one
// is whose target is not known yet; it is covered by the connect deadline too.
//
// An EOF passes on as a shutdown of the other side's writing half, after every byte before it; the
// other direction goes on. A reset passes on as a reset. What epoll watches is computed from the
// state after each step and never stored elsewhere.

#pragma once

#include <memory>
#include <vector>

#include "loop.h"
#include "pump.h"
#include "record.h"

namespace vsock_proxy {

// What new connections of a listener try, in order. Shared, never changed once made.
using Upstream = std::shared_ptr<const std::vector<Address>>;

struct ConnectionTimeouts {
  Micros connect = 0;
  Micros idle = 0;  // 0: none
  // After so long without a byte a connection gets TCP keepalive: most end earlier, and never need its
  // system calls.
  Micros quiet = 60 * 1000 * 1000;
};

class Connection;

// Hears of the two turns in a connection's life that concern others.
class ConnectionObserver {
 public:
  virtual void onConnected(Connection& connection) = 0;
  // The connection has ended and let go of its sockets; retire it, and destroy it no earlier than that.
  virtual void onClosed(Connection& connection) = 0;

 protected:
  ~ConnectionObserver() = default;
};

class Connection {
 public:
  // `record` comes with listener, connection, client and the queueing time filled in.
  Connection(Loop& loop, ConnectionObserver& observer, UniqueFd client, CloseRecord record,
             ConnectionTimeouts timeouts);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Starts the deadline, and to connect unless there is no `upstream` yet. May end the connection at once.
  void start(const Upstream& upstream);
  bool waiting() const { return state_ == State::Waiting; }
  // From Waiting: the addresses are known now.
  void dial(const Upstream& upstream);
  // Ends the connection and resets both sides.
  void abort(CloseReason reason);

  // Complete once the connection is closed.
  const CloseRecord& record() const { return record_; }

  // The owner's place for it.
  size_t place = 0;

 private:
  enum class State : uint8_t { Waiting, Connecting, Relaying, Closed };

  // One of the two sockets, with what epoll watches of it.
  struct Side final : Watch {
    explicit Side(Connection& owner) : connection(owner) {}
    void onReady(uint32_t events) override { connection.onSideReady(*this, events); }
    Connection& connection;
    UniqueFd fd;
    bool watched = false;  // epoll tells of errors and hang-ups whatever the interest is
    uint32_t interest = 0;
    bool hungUp = false;  // errors and hang-ups have been told: nothing is left to wait for
  };

  // One address being tried.
  struct Attempt final : Watch {
    Attempt(Connection& owner, UniqueFd fd, const Address& to)
        : connection(owner), fd(std::move(fd)), address(to) {}
    void onReady(uint32_t) override { connection.onAttemptReady(*this); }
    Connection& connection;
    UniqueFd fd;
    const Address& address;
  };

  // Attempts under way: the next address starts when one fails or after a head start (RFC 8305).
  struct Dial {
    Dial(const Upstream& upstream, std::function<void()> onHeadStart)
        : addresses(upstream), headStart(std::move(onHeadStart)) {}
    Upstream addresses;
    size_t next = 0;
    std::vector<std::unique_ptr<Attempt>> attempts;
    Timer headStart;
    int lastError = 0;
  };

  void startAttempts();
  void startAttempt(const Address& address);
  void onAttemptReady(Attempt& attempt);
  void endDial();
  void beginRelay(UniqueFd server, const Address& address, bool watched);
  void armQuietDeadline();

  void onSideReady(Side& side, uint32_t events);
  int turn(Pump& pump, Side& source, Side& sink);
  int onSourceDone(Pump& pump, Side& source, Side& sink);
  void discardUnread(const Side& side, const Pump& from);
  void settle(const Side* failedSide, int error);
  void updateInterest(Side& side, const Pump& from, const Pump& to);
  void onDeadline();
  Party partyOf(const Side& side) const { return &side == &client_ ? Party::Client : Party::Server; }
  bool isTcp(const Side& side) const { return (&side == &client_ ? record_.client : record_.server).isTcp(); }
  void close(CloseReason reason, Party endedBy, int error, bool reset);

  Loop& loop_;
  ConnectionObserver& observer_;
  const ConnectionTimeouts timeouts_;
  CloseRecord record_;
  const Micros acceptedAt_;
  Micros activeAt_;
  Timer deadline_;
  Side client_{*this};
  Side server_{*this};
  Pump up_;    // client → server
  Pump down_;  // server → client
  std::unique_ptr<Dial> dial_;
  Party firstEof_ = Party::Proxy;  // Proxy: none yet
  bool keptAlive_ = false;
  State state_ = State::Waiting;
};

}  // namespace vsock_proxy
