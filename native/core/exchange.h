// The part of a connection's life that the control plane decides about, step by step.
//
//                  decision: connect, exchange            the server is connected
//   Deciding ──────────────────────────► (Connection dials) ─────────► Exchanging
//    ▲  │ ▲                                 │ nobody answers              │   │ (after a handshake:
//    │  │ └──── a decision is requested ────┘                             │   └── Connection relays)
//    │  └── reject ──► Leaving ◄──────────────────────────────────────────┤ the response was passed on
//    └───────────────── the next head ◄───────────────────────────────────┘
//
// In Deciding, the control plane gets the bytes of the client, and its decision says what follows. An
// `exchange` is one request and its response, both with a known end (RFC 9112); then the client may go on.
// A `handshake` is an exchange with the server alone. After it the connection relays, or the client gets
// the server's response and is left. In Leaving, the client has its last answer, and time to read it.
//
// The server of a *persistent* exchange, a GET without a body, is kept for the client's next request. It
// gets that request if it is a persistent one for the same server, by its decision. The server connection
// belongs to this client alone: no byte of one client can reach another on it, and no body can be taken for
// a request. If it turns out to be gone before the first byte of its answer, it is dialled once again: RFC
// 9110, section 9.2.2.
//
// A *plain* exchange was decided by a cached decision. The data plane then also reads the head of the
// response, if that is plain.
//
// An exchange makes no calls: each function returns what its connection does next.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "link.h"
#include "messages.h"

namespace vsock_proxy {

class Exchange {
 public:
  // The next step of the connection.
  struct Next {
    enum class Step : uint8_t {
      Wait,       // for the next event
      Request,    // a decision, with `request`
      Dial,       // `addresses`; then call `onConnected` or `onDialFailed`
      Reuse,      // the server of the previous exchange: `onConnected`
      Relay,      // from now on; this exchange is over
      Responded,  // the client has its response: call `afterResponse`
      Close,      // with `ending`
    };
    Step step = Step::Wait;
    Ending ending;
    bool reset = false;  // both sides
    Addresses addresses;
    unsigned answered = 0;  // the status of a plain exchange, which the control plane does not see
  };

  Exchange(Link& link, CloseRecord& record) : link_(link), record_(record) {}

  // Begins with a newly accepted client and its first request.
  Next start(RequestKind kind);
  Next onReady(Side& side, uint32_t events);
  Next onDeadline();

  // A request is open, and waits for `decide`.
  bool awaitsDecision() const { return round_.requested; }
  // No side is read until there is a decision.
  DecisionRequest request();
  // The bytes of the client, if the request is about them.
  std::string_view head() const {
    return awaitsDecision() && round_.kind == RequestKind::Head ? round_.bytes : std::string_view();
  }
  // Only while a request is open.
  Next decide(Decision decision);

  // Whether an exchange follows when the server is connected; otherwise the connection relays.
  bool awaitsResponse() const { return round_.kind == RequestKind::Response; }
  Next onConnected();
  // Whether a decision is requested if no address answers; otherwise the connection ends.
  bool explainsFailure() const { return round_.explain; }
  Next onDialFailed(const Ending& ending);

  // The client may send its next head, unless this was its last one.
  Next afterResponse(bool wasLast);
  // The client has no request under way.
  bool isBetweenRequests() const {
    return state_ == State::Deciding && round_.later && round_.bytes.empty() && !round_.requested;
  }

 private:
  enum class State : uint8_t { Deciding, Exchanging, Leaving };

  // The addresses and the bytes for a second dial.
  struct Again {
    Addresses addresses;
    std::string toServer;
  };

  // The kept server, while the client has no exchange under way.
  struct Kept {
    TargetId target = kNoTarget;
    Address address;
    Micros until = 0;
  };

  // The state from one head of the client to its next.
  struct Round {
    RequestKind kind = RequestKind::Head;  // of the open or the next request
    bool requested = false;                // the request is open
    std::string bytes;     // bytes that no decision has consumed: the client's, or with Response the server's
    size_t atLeast = 0;    // the number of bytes before the next request
    int until = -1;        // a byte that must be among the new ones; -1: any
    bool fresh = false;    // some bytes, or `ended`, were in no request
    bool ended = false;    // the sender of the bytes has ended
    int error = 0;         // its errno, if it failed
    bool later = false;    // the client has had a response
    bool explain = false;  // request a decision before a failure to connect ends the connection
    unsigned interims = 0;         // interim responses so far
    std::unique_ptr<Again> again;  // for a kept server, until it answers
    bool persistent = false;
    PlainExchange plain;
    bool clientSpoke = false;  // the client sent bytes while it was not read
    bool keep = false;         // the server may be kept
    bool handshake = false;    // bytes of the client are not for the server yet
    std::string early;         // those bytes
    bool responding = false;   // the response is on its way to the client,
    bool untilEof = false;     // up to the server's EOF,
    bool next = false;         // and the client may go on after it
    Ending ending;             // with Failed, and in Leaving
  };

  Next request(RequestKind kind);
  Next collectHead();
  void read(Side& side);
  size_t headLimit() const;
  bool isFull() const { return round_.bytes.size() >= headLimit(); }
  bool isWorthARequest(size_t before) const;
  Next connect(Decision& decision);
  Next exchange(Decision& decision);
  bool mayReuse(const Decision& decision) const;
  Next dialAgain();
  void keepOrDropServer();
  Next answer(const PlainResponse& response);
  Next interim(Decision& decision);
  Next respond(Decision& decision);
  Next relayAfter(Decision& decision);
  bool collectsResponse() const;
  Next onExchangeReady(Side& side, uint32_t events);
  Next settle();
  Next endResponse();
  Next leave(const Ending& ending);
  Next onLeavingReady(uint32_t events);
  Next goOnLeaving();
  Next watchClient(uint32_t interest);
  Next failed(const Side& side, int error) const;
  static Next close(const Ending& ending, bool reset);
  static Next to(Next::Step step);
  Next dial(Addresses addresses);
  void armIdleDeadline();

  Link& link_;
  CloseRecord& record_;
  Kept kept_;
  Round round_;
  State state_ = State::Deciding;
};

}  // namespace vsock_proxy
