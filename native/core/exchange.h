// The part of a connection's life that the control plane decides about, step by step.
//
//                  decision: connect, exchange            the server is connected
//   Deciding ──────────────────────────► (Connection dials) ─────────► Exchanging
//    ▲  │ ▲                                 │ nobody answers              │   │ (after a handshake:
//    │  │ └──── a decision is requested ────┘                             │   └── Connection relays)
//    │  └── reject ──► Leaving ◄──────────────────────────────────────────┤ the response was passed on
//    └───────────────── the next head ◄───────────────────────────────────┘
//
// In Deciding the control plane is shown what the client has sent, and its decision says what follows. An
// `exchange` is one request and its response, both with a known end (RFC 9112); then the client may go on. A
// `handshake` is an exchange with the server alone, after which the connection relays; or the client gets the
// server's response, and is left. In Leaving the client has its last answer, and time to hear it.
//
// The server of a *persistent* exchange, a GET without a body, is kept while the client makes up its mind,
// and has its next request too, if that is such a one for the same server, and decided so. The client has it
// for itself: nothing of one client can reach another on it, nor can a body be taken for a request. If it
// turns out to be gone before the first byte of its answer, it is dialled once again: RFC 9110,
// section 9.2.2.
//
// A *plain* exchange was decided by a cached decision: here the response's head is read too, if that is
// plain.
//
// An exchange calls nobody: what its connection is to do next is what each function returns.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "link.h"
#include "messages.h"

namespace vsock_proxy {

class Exchange {
 public:
  // What the connection is to do.
  struct Next {
    enum class Step : uint8_t {
      Wait,       // for the next event
      Request,    // a decision, with `request`
      Dial,       // `addresses`; then `onConnected` or `onDialFailed`
      Reuse,      // the server of the exchange before: `onConnected`
      Relay,      // from now on: this exchange is over
      Responded,  // the client has its response: `afterResponse`
      Close,      // with `ending`
    };
    Step step = Step::Wait;
    Ending ending;
    bool reset = false;  // both sides
    Addresses addresses;
    unsigned answered = 0;  // the status of a plain exchange, which the control plane does not know
  };

  Exchange(Link& link, CloseRecord& record) : link_(link), record_(record) {}

  // Begins with a client that was just accepted, and this first request.
  Next start(RequestKind kind);
  Next onReady(Side& side, uint32_t events);
  Next onDeadline();

  // A request is open, and waits for `decide`.
  bool awaitsDecision() const { return round_.requested; }
  // Nobody is read from until it is decided.
  DecisionRequest request();
  // What the client has sent, while the request is about that.
  std::string_view head() const {
    return awaitsDecision() && round_.kind == RequestKind::Head ? round_.bytes : std::string_view();
  }
  // Only while a decision is awaited.
  Next decide(Decision decision);

  // Whether there is an exchange with a server once it is connected; otherwise the connection relays.
  bool awaitsResponse() const { return round_.kind == RequestKind::Response; }
  Next onConnected();
  // Whether a decision is requested when no address answers; otherwise the connection ends.
  bool explainsFailure() const { return round_.explain; }
  Next onDialFailed(const Ending& ending);

  // The client may send its next head, unless this was its last.
  Next afterResponse(bool wasLast);
  // The client has nothing under way.
  bool isBetweenRequests() const {
    return state_ == State::Deciding && round_.later && round_.bytes.empty() && !round_.requested;
  }

 private:
  enum class State : uint8_t { Deciding, Exchanging, Leaving };

  // What it takes to dial once more.
  struct Again {
    Addresses addresses;
    std::string toServer;
  };

  // The server that is connected while the client has no exchange under way, if one is.
  struct Kept {
    TargetId target = kNoTarget;
    Address address;
    Micros until = 0;
  };

  // From one head of the client to its next.
  struct Round {
    RequestKind kind = RequestKind::Head;  // of the request that is open or comes next
    bool requested = false;                // it is open
    std::string bytes;             // that nobody has consumed: the client's, or with Response the server's
    size_t atLeast = 0;            // so many, before the next request
    int until = -1;                // a byte that must be among the new ones; -1: any
    bool fresh = false;            // some of them, or `ended`, were in no request
    bool ended = false;            // whose bytes they are has ended
    int error = 0;                 // with this errno, if it failed
    bool later = false;            // the client has had a response before
    bool explain = false;          // request a decision before a failure to connect ends the connection
    unsigned interims = 0;         // interim responses so far
    std::unique_ptr<Again> again;  // of a server that was kept, until it answers
    bool persistent = false;
    PlainExchange plain;
    bool clientSpoke = false;  // while it was not to be read from
    bool keep = false;         // the server may be kept
    bool handshake = false;    // what the client sends is not for the server yet
    std::string early;         // of it, what came before
    bool responding = false;   // the response is under way to the client,
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
