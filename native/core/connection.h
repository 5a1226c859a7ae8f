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
// A connection on a fixed listener that has its addresses starts in Connecting. Waiting is where one
// is whose target is not known yet; it is covered by the connect deadline too. On a listener that requests
// decisions it starts in InExchange, where an Exchange says what follows; after a decision to connect it is
// like any other.
//
// In Connecting, an address that fails gives way to the next. After the last one the connection ends,
// unless that is a vsock or unix server which is not there, for it may be restarting, or this machine is
// short of descriptors or memory: then everything is tried again, until the connect deadline.
//
// An EOF passes on as a shutdown of the other side's writing half, after every byte before it; the
// other direction goes on. A reset passes on as a reset. What epoll watches is computed from the
// state after each step and never stored elsewhere.

#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "exchange.h"
#include "link.h"
#include "messages.h"

namespace vsock_proxy {

// What new connections of a listener try, in order. Shared, never changed once made.
using Upstream = Addresses;

class Connection;

// Hears of the turns in a connection's life that concern others.
class ConnectionObserver {
 public:
  // To be answered by `decide`, now or later.
  virtual void onDecisionRequest(Connection& connection) = 0;
  // A client gets a response with this status that no decision was requested about.
  virtual void onAnswered(Connection& connection, unsigned status) = 0;
  virtual void onConnected(Connection& connection) = 0;
  // The connection has ended and let go of its sockets; retire it, and destroy it no earlier than that.
  virtual void onClosed(Connection& connection) = 0;
  // Whether a client that has its response shall go rather than ask again.
  virtual bool draining() const = 0;

 protected:
  ~ConnectionObserver() = default;
};

class Connection final : private LinkObserver {
 public:
  // `record` comes with listener, connection, client and the queueing time filled in.
  Connection(Loop& loop, ConnectionObserver& observer, UniqueFd client, CloseRecord record,
             const ConnectionTimeouts& timeouts);
  ~Connection() { endDial(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Starts the deadline, and an exchange, or to connect unless there is no `upstream` yet. May end the
  // connection at once.
  // `vsockBufferBytes`: of a server on vsock, see socket.h.
  void start(ListenerKind kind, const Upstream& upstream, uint32_t vsockBufferBytes = 0);
  bool waiting() const { return state_ == State::Waiting; }
  // From Waiting: the addresses are known now.
  void dial(const Upstream& upstream);
  // Whether a requested decision has not come yet; what the client has sent, while the request is about that;
  // the request, for a decision that comes later; and the decision. Without a request it is ignored.
  bool awaitsDecision() const { return exchange_ && exchange_->awaitsDecision(); }
  std::string_view head() const { return exchange_ ? exchange_->head() : std::string_view(); }
  DecisionRequest request() { return exchange_->request(); }
  void decide(Decision decision);
  // Ends the connection if its client has nothing under way.
  void endIfIdle();
  // Ends the connection and resets both sides.
  void abort(CloseReason reason);

  // As it is now.
  LiveConnection describe() const;
  // Complete once the connection is closed.
  const CloseRecord& record() const { return record_; }

  // The owner's place for it.
  size_t place = 0;

 private:
  enum class State : uint8_t { Waiting, InExchange, Connecting, Relaying, Closed };

  // One address being tried.
  struct Attempt final : Watch {
    Attempt(Connection& owner, UniqueFd fd, const Address& to)
        : connection(owner), fd(std::move(fd)), address(to) {}
    void onReady(uint32_t) override { connection.onAttemptReady(*this); }
    Connection& connection;
    UniqueFd fd;
    const Address& address;
  };

  // Attempts under way: the next address starts when one fails or after a head start (RFC 8305), and
  // the first one again after a pause.
  struct Dial {
    Dial(const Upstream& upstream, std::function<void()> onNextStart)
        : addresses(upstream), nextStart(std::move(onNextStart)) {}
    Upstream addresses;
    size_t next = 0;
    std::vector<std::unique_ptr<Attempt>> attempts;
    Timer nextStart;
    Micros pause = 0;  // the last one, 0 before the first
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
  bool isTcp(const Side& side) const {
    return (&side == &link_.client ? record_.client : record_.server).isTcp();
  }
  void close(const Ending& ending, bool reset);

  ConnectionObserver& observer_;
  CloseRecord record_;
  const Micros acceptedAt_;
  Link link_;
  std::unique_ptr<Dial> dial_;
  std::unique_ptr<Exchange> exchange_;  // null once the connection relays, and where it was never to decide
  Party firstEof_ = Party::Proxy;       // Proxy: none yet
  State state_ = State::Waiting;
  uint32_t vsockBufferBytes_ = 0;
};

}  // namespace vsock_proxy
