// One accepted connection, from accept to its close record.
//
//             setUpstream, decision        an address answers              both directions done,
//   Waiting, ────────────────► Connecting ────────────────► Relaying ──── a reset, a deadline ───► Closed
//   InExchange                  │      │                                                             ▲
//    ▲ ▲ │                      │      └───── every address failed, connect deadline ────────────────┤
//    │ │ │        of an exchange│                                                                    │
//    │ └─┼──────────────────────┘                                                                    │
//    │   └───────── rejected, response complete, head deadline, the client left ─────────────────────┘
//    └── InExchange: see exchange.h
//
// A connection on a fixed listener that has its addresses starts in Connecting. In Waiting its addresses
// are not known yet; the connect deadline covers this time, too. On a listener that requests decisions it
// starts in InExchange, where an Exchange says what follows. After a decision to connect it is like any
// other.
//
// In Connecting, an address that fails gives way to the next. After the last one the connection ends, with
// two exceptions. A vsock or unix server that is absent may be restarting, and this machine may lack
// descriptors or memory for a moment. Then all addresses are tried again, until the connect deadline.
//
// An EOF is passed on by shutting down the writing half of the other side, after every byte before it. The
// other direction goes on. A reset is passed on as a reset. The interest of epoll is computed from the
// state after each step, and never stored elsewhere.

#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "exchange.h"
#include "link.h"
#include "messages.h"

namespace vsock_proxy {

// The addresses for new connections of a listener, in order. The list is shared, and never changes.
using Upstream = Addresses;

class Connection;

// The owner of connections, which acts on their events.
class ConnectionObserver {
 public:
  // `decide` must answer it, now or later.
  virtual void onDecisionRequest(Connection& connection) = 0;
  // A client gets a response with this status, without a decision request about it.
  virtual void onAnswered(Connection& connection, unsigned status) = 0;
  virtual void onConnected(Connection& connection) = 0;
  // The connection has ended; it closes its sockets when this returns. The owner must retire it before
  // destroying it.
  virtual void onClosed(Connection& connection) = 0;
  // Whether to close the connection of a client that has its response.
  virtual bool draining() const = 0;

 protected:
  ~ConnectionObserver() = default;
};

class Connection final : private LinkObserver {
 public:
  // `record` has the listener, connection, client and queueing time.
  Connection(Loop& loop, ConnectionObserver& observer, UniqueFd client, CloseRecord record,
             const ConnectionTimeouts& timeouts);
  ~Connection() { endDial(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Starts the deadline, and an exchange, or to connect if there is an `upstream`. It may end the
  // connection at once.
  // `vsockBufferBytes` is for a vsock server, see socket.h.
  void start(ListenerKind kind, const Upstream& upstream, uint32_t vsockBufferBytes = 0);
  bool waiting() const { return state_ == State::Waiting; }
  // In Waiting: the addresses are known now.
  void dial(const Upstream& upstream);
  // Whether a decision request is open; the bytes of the client, if the request is about them; the request,
  // for a later decision; and the decision. A decision without a request is ignored.
  bool awaitsDecision() const { return exchange_ && exchange_->awaitsDecision(); }
  std::string_view head() const { return exchange_ ? exchange_->head() : std::string_view(); }
  DecisionRequest request() { return exchange_->request(); }
  void decide(Decision decision);
  // Ends the connection if its client has no request under way.
  void endIfIdle();
  // Ends the connection and resets both sides.
  void abort(CloseReason reason);

  // The present state.
  LiveConnection describe() const;
  // Complete once the connection is closed.
  const CloseRecord& record() const { return record_; }

  // The index of the connection in its owner's list.
  size_t place = 0;

 private:
  enum class State : uint8_t { Waiting, InExchange, Connecting, Relaying, Closed };

  // An attempt to connect to one address.
  struct Attempt final : Watch {
    Attempt(Connection& owner, UniqueFd fd, const Address& to)
        : connection(owner), fd(std::move(fd)), address(to) {}
    void onReady(uint32_t) override { connection.onAttemptReady(*this); }
    Connection& connection;
    UniqueFd fd;
    const Address& address;
  };

  // The running attempts. The next address starts when one fails or after a head start (RFC 8305), and the
  // first one starts again after a pause.
  struct Dial {
    Dial(const Upstream& upstream, std::function<void()> onNextStart)
        : addresses(upstream), nextStart(std::move(onNextStart)) {}
    Upstream addresses;
    size_t next = 0;
    std::vector<std::unique_ptr<Attempt>> attempts;
    Timer nextStart;
    Micros pause = 0;  // the last pause, 0 before the first
    int lastError = 0;
  };

  void startAttempts();
  void startAttempt(const Address& address);
  void onAttemptReady(Attempt& attempt);
  static Ending failureOf(int error);
  void tryAgain();
  void endDial();
  void failDial(const Ending& ending);
  void onConnected(UniqueFd server, const Address& address, bool watched);
  void follow(Exchange::Next next);
  void relay();
  void onSideReady(Side& side, uint32_t events) override;
  void onRelayReady(Side& side, uint32_t events);
  int turn(Pump& pump, Side& source, Side& sink);
  int onSourceDone(Pump& pump, Side& source, Side& sink);
  void settle(const Side* failedSide, int error);
  void updateInterest(Side& side, const Pump& from, const Pump& to);
  void onDeadline() override;
  void onRelayDeadline();
  void close(const Ending& ending, bool reset);

  ConnectionObserver& observer_;
  CloseRecord record_;
  const Micros acceptedAt_;
  Link link_;
  std::unique_ptr<Dial> dial_;
  std::unique_ptr<Exchange> exchange_;  // null if the connection relays, or never needed a decision
  Party firstEof_ = Party::Proxy;       // Proxy: none yet
  State state_ = State::Waiting;
  uint32_t vsockBufferBytes_ = 0;
};

}  // namespace vsock_proxy
