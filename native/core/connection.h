// One accepted connection, from accept to its close record.
//
//             setUpstream, decision         an address answers              both directions done,
//   Waiting, ────────────────► Connecting ────────────────► Relaying ──── a reset, a deadline ───► Closed
//   Asking                      │      │                                                             ▲
//    ▲ │ │                      │      └───── every address failed, connect deadline ────────────────┤
//    │ │ │        of an exchange└───────► Exchanging ──┐ (after a handshake: Relaying)               │
//    │ └─┼───── reject ──┐                             │ the response was passed on                  │
//    └───┼───────────────┼─────────── the next head ◄──┴──► Leaving ──── the client has it ──────────┤
//        │               └───────────────────────────────────► ▲                                     │
//        └──────── head deadline, or the client left ────────────────────────────────────────────────┘
//
// A connection on a fixed listener that has its addresses starts in Connecting. Waiting is where one
// is whose target is not known yet; it is covered by the connect deadline too.
//
// In Connecting, an address that fails gives way to the next. After the last one the connection ends,
// unless that is a vsock or unix server which is not there, for it may be restarting, or this machine is
// short of descriptors or memory: then everything is tried again, until the connect deadline.
//
// On a listener that asks it starts in Asking: the control plane is shown what the client has sent,
// and its decision says what follows. After `connect` the connection is like any other. An `exchange`
// is one request and its response, both with a known end (RFC 9112); then the client may ask again. A
// `handshake` is an exchange with the server alone, after which the connection relays.
//
// An EOF passes on as a shutdown of the other side's writing half, after every byte before it; the
// other direction goes on. A reset passes on as a reset. What epoll watches is computed from the
// state after each step and never stored elsewhere.
//
// connection.cc has what every connection goes through, dialogue.cc the states of those that request.

#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "loop.h"
#include "messages.h"
#include "pump.h"

namespace vsock_proxy {

// What new connections of a listener try, in order. Shared, never changed once made.
using Upstream = std::shared_ptr<const std::vector<Address>>;

enum class ListenerKind : uint8_t { Fixed, DecideClient, DecideHead };

struct ConnectionTimeouts {
  Micros connect = 0;
  Micros idle = 0;  // 0: none
  Micros head = 0;
  // After so long without a byte a connection gets TCP keepalive: most end earlier, and never need its
  // system calls.
  Micros quiet = 60 * 1000 * 1000;
};

class Connection;

// Hears of the turns in a connection's life that concern others.
class ConnectionObserver {
 public:
  virtual void onDecisionRequest(Connection& connection, DecisionRequest request) = 0;
  virtual void onConnected(Connection& connection) = 0;
  // The connection has ended and let go of its sockets; retire it, and destroy it no earlier than that.
  virtual void onClosed(Connection& connection) = 0;
  // Whether a client that has its response shall go rather than ask again.
  virtual bool draining() const = 0;

 protected:
  ~ConnectionObserver() = default;
};

class Connection {
 public:
  // The most of a head, of a request or of a response, that is collected.
  static constexpr size_t kHeadBytes = 16 * 1024;

  // `record` comes with listener, connection, client and the queueing time filled in.
  Connection(Loop& loop, ConnectionObserver& observer, UniqueFd client, CloseRecord record,
             ConnectionTimeouts timeouts);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Starts the deadline, and to ask, or to connect unless there is no `upstream` yet. May end the
  // connection at once.
  void start(ListenerKind kind, const Upstream& upstream);
  bool waiting() const { return state_ == State::Waiting; }
  // From Waiting: the addresses are known now.
  void dial(const Upstream& upstream);
  // Whether a question is open; what it is about; and its answer.
  bool awaitsDecision() const { return dialogue_ && dialogue_->asked; }
  // What the client has sent, while the question is about that.
  std::string_view head() const {
    return awaitsDecision() && dialogue_->kind == DecisionRequest::Kind::Head ? dialogue_->bytes
                                                                              : std::string_view();
  }
  void decide(Decision decision);
  // Ends the connection if its client has nothing under way.
  void endIfIdle();
  // Ends the connection and resets both sides.
  void abort(CloseReason reason);

  // Complete once the connection is closed.
  const CloseRecord& record() const { return record_; }

  // The owner's place for it.
  size_t place = 0;

 private:
  enum class State : uint8_t { Waiting, Deciding, Connecting, Relaying, Exchanging, Leaving, Closed };

  // One of the two sockets, with what epoll watches of it.
  struct Side final : Watch {
    explicit Side(Connection& owner) : connection(owner) {}
    void onReady(uint32_t events) override { connection.onSideReady(*this, events); }
    Connection& connection;
    UniqueFd fd;
    bool watched = false;  // epoll tells of errors and hang-ups whatever the interest is
    uint32_t interest = 0;
    bool hungUp = false;  // errors and hang-ups have been told: nothing is left to wait for
    bool keptAlive = false;
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

  // How a connection ends, or will end.
  struct Ending {
    CloseReason reason = CloseReason::Finished;
    Party endedBy = Party::Proxy;
    int error = 0;
  };

  // What a connection has besides while the control plane is asked about it.
  struct Dialogue {
    DecisionRequest::Kind kind = DecisionRequest::Kind::Head;  // of the question that is open or comes next
    bool asked = false;                                        // it is open
    std::string bytes;        // that nobody has consumed: the client's, or with Response the server's
    size_t atLeast = 0;       // so many, before the next question
    int until = -1;           // a byte that must be among the new ones; -1: any
    bool fresh = false;       // some of them, or `ended`, nobody was asked about
    bool ended = false;       // whose bytes they are has ended
    int error = 0;            // with this errno, if it failed
    bool later = false;       // the client has had a response before
    bool explain = false;     // ask before a failure to connect ends the connection
    unsigned interims = 0;    // interim responses so far
    bool handshake = false;   // what the client sends is not for the server yet
    std::string early;        // of it, what came before
    bool responding = false;  // the response is under way to the client,
    bool untilEof = false;    // up to the server's EOF,
    bool next = false;        // and the client may ask again after it
    Ending ending;            // with Failed, and in Leaving
  };

  // connection.cc
  void startAttempts();
  void startAttempt(const Address& address);
  void onAttemptReady(Attempt& attempt);
  static Ending failureOf(int error);
  void tryAgain();
  void endDial();
  void failDial(Ending ending);
  void beginRelay(UniqueFd server, const Address& address, bool watched);
  void relay();
  void armQuietDeadline();
  void onSideReady(Side& side, uint32_t events);
  void onRelayReady(Side& side, uint32_t events);
  int turn(Pump& pump, Side& source, Side& sink);
  int move(Pump& pump, Side& source, Side& sink);
  int onSourceDone(Pump& pump, Side& source, Side& sink);
  void discardUnread(const Side& side, const Pump& from);
  void settle(const Side* failedSide, int error);
  void updateInterest(Side& side, const Pump& from, const Pump& to);
  void watch(Side& side, bool watched, uint32_t interest);
  void onDeadline();
  void onRelayDeadline();
  bool checkQuiet();
  Party partyOf(const Side& side) const { return &side == &client_ ? Party::Client : Party::Server; }
  bool isTcp(const Side& side) const { return (&side == &client_ ? record_.client : record_.server).isTcp(); }
  void close(const Ending& ending, bool reset);

  // dialogue.cc
  void startDialogue(DecisionRequest::Kind kind);
  void requestDecision();
  void collect(Side& side);
  bool isWorthAsking(size_t before) const;
  void connect(Decision& decision);
  void exchange(Decision& decision);
  void interim(Decision& decision);
  void respond(Decision& decision);
  void relayAfter(Decision& decision);
  void beginExchange();
  void onExchangeReady(Side& side, uint32_t events);
  bool collectsResponse() const;
  void settleExchange(const Side* failedSide, int error);
  void endExchange();
  void dropServer();
  void leave(const Ending& ending);
  void onLeavingReady(uint32_t events);
  void goOnLeaving();
  void onDialogueDeadline();

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
  std::unique_ptr<Dialogue> dialogue_;
  Party firstEof_ = Party::Proxy;  // Proxy: none yet
  State state_ = State::Waiting;
};

}  // namespace vsock_proxy
