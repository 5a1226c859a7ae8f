// The values that cross the seam, and that may cross threads: events of the data plane, and decisions for it.
// src/dataplane/contract.ts explains them.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "body.h"
#include "http_head.h"
#include "names.h"
#include "socket.h"

namespace vsock_proxy {

using ListenerId = uint32_t;
using ConnectionId = uint64_t;

// The control plane's id for the target of a client.
using TargetId = int64_t;
constexpr TargetId kNoTarget = -1;

// Who ended a connection.
#define VSOCK_PROXY_PARTIES(X) \
  X(Client, "client")          \
  X(Server, "server")          \
  X(Proxy, "proxy")
NAMED_ENUM(Party, VSOCK_PROXY_PARTIES)

// The part of its life in which a connection is.
#define VSOCK_PROXY_PHASES(X) \
  X(Deciding, "deciding")     \
  X(Connecting, "connecting") \
  X(Relaying, "relaying")
NAMED_ENUM(Phase, VSOCK_PROXY_PHASES)

// Why a client is refused when it is accepted. Each is also a close reason and a kind of fault.
#define VSOCK_PROXY_REFUSALS(X)  \
  X(NotAdmitted, "not-admitted") \
  X(ClientLimit, "client-limit") \
  X(ClientRate, "client-rate")
NAMED_ENUM(Refusal, VSOCK_PROXY_REFUSALS)

// Why a connection ended.
#define VSOCK_PROXY_CLOSE_REASONS(X)     \
  X(Finished, "finished")                \
  X(Reset, "reset")                      \
  X(ConnectFailed, "connect-failed")     \
  X(NoUpstream, "no-upstream")           \
  X(ConnectTimeout, "connect-timeout")   \
  X(IdleTimeout, "idle-timeout")         \
  X(HeadTimeout, "head-timeout")         \
  X(DecisionTimeout, "decision-timeout") \
  X(Denied, "denied")                    \
  X(Malformed, "malformed")              \
  X(Drained, "drained")                  \
  X(Internal, "internal")                \
  VSOCK_PROXY_REFUSALS(X)
NAMED_ENUM(CloseReason, VSOCK_PROXY_CLOSE_REASONS)

// Events that concern a listener, not one connection.
#define VSOCK_PROXY_FAULT_KINDS(X) \
  X(Limit, "limit")                \
  X(Accept, "accept")              \
  VSOCK_PROXY_REFUSALS(X)
NAMED_ENUM(FaultKind, VSOCK_PROXY_FAULT_KINDS)

// A step in the life of a connection.
#define VSOCK_PROXY_STEPS(X) \
  X(Accepted, "accepted")    \
  X(Connected, "connected")
NAMED_ENUM(Step, VSOCK_PROXY_STEPS)

// The subject of a decision request.
#define VSOCK_PROXY_REQUEST_KINDS(X) \
  X(Client, "client")                \
  X(Head, "head")                    \
  X(Response, "response")            \
  X(Failed, "failed")
NAMED_ENUM(RequestKind, VSOCK_PROXY_REQUEST_KINDS)

// The step that a connection takes after a decision.
#define VSOCK_PROXY_ACTIONS(X) \
  X(More, "more")              \
  X(Connect, "connect")        \
  X(Exchange, "exchange")      \
  X(Interim, "interim")        \
  X(Respond, "respond")        \
  X(Relay, "relay")            \
  X(Reject, "reject")
NAMED_ENUM(Action, VSOCK_PROXY_ACTIONS)

// Whether a listener requests decisions, and about what first.
#define VSOCK_PROXY_LISTENER_KINDS(X) \
  X(Fixed, "fixed")                   \
  X(DecideClient, "decide-client")    \
  X(DecideHead, "decide-head")
NAMED_ENUM(ListenerKind, VSOCK_PROXY_LISTENER_KINDS)

// The events about each connection: close records of failures; or all close records, and each step.
#define VSOCK_PROXY_REPORT_KINDS(X) \
  X(Failures, "failures")           \
  X(Lifecycle, "lifecycle")
NAMED_ENUM(ReportKind, VSOCK_PROXY_REPORT_KINDS)

// The framing of a message body: RFC 9112, section 6.
#define VSOCK_PROXY_FRAMINGS(X) \
  X(None, "none")               \
  X(Length, "length")           \
  X(Chunked, "chunked")         \
  X(Eof, "eof")
NAMED_ENUM(Framing, VSOCK_PROXY_FRAMINGS)

#define VSOCK_PROXY_FAMILIES(X) \
  X(Vsock, "vsock")             \
  X(Tcp, "tcp")                 \
  X(Unix, "unix")
NAMED_ENUM(Family, VSOCK_PROXY_FAMILIES)

// The source of a listening socket: it is made for an address, or it exists already.
#define VSOCK_PROXY_SOCKET_KINDS(X) \
  VSOCK_PROXY_FAMILIES(X)           \
  X(Inherited, "inherited")         \
  X(Predecessor, "predecessor")
NAMED_ENUM(SocketKind, VSOCK_PROXY_SOCKET_KINDS)

// Every list above that the control plane needs, with its name there.
#define VSOCK_PROXY_LISTS(X)       \
  X(Party, "parties")              \
  X(Phase, "phases")               \
  X(CloseReason, "closeReasons")   \
  X(Refusal, "refusals")           \
  X(FaultKind, "faultKinds")       \
  X(Step, "steps")                 \
  X(RequestKind, "requestKinds")   \
  X(Action, "actions")             \
  X(ListenerKind, "listenerKinds") \
  X(ReportKind, "reportKinds")     \
  X(Framing, "framings")           \
  X(Family, "families")            \
  X(SocketKind, "socketKinds")     \
  X(EventKind, "eventKinds")

// The limits of the data plane, with their names in src/dataplane/contract.ts.
#define VSOCK_PROXY_LIMITS(X)                                                         \
  /* the head of a client, and of a server */                                         \
  X(kRequestHeadBytes, "requestHeadBytes", 16 * 1024)                                 \
  X(kResponseHeadBytes, "responseHeadBytes", 64 * 1024)                               \
  /* before the final response; servers send only a few */                            \
  X(kInterimResponses, "interimResponses", 16)                                        \
  /* cached decisions of one listener on one thread, and the length of their heads */ \
  X(kCachedDecisions, "cachedDecisions", 32)                                          \
  X(kCachedHeadBytes, "cachedHeadBytes", 4 * 1024)                                    \
  /* and cached decisions by authority */                                             \
  X(kCachedAuthorities, "cachedAuthorities", 256)
#define VSOCK_PROXY_LIMIT(constant, name, value) constexpr size_t constant = value;
VSOCK_PROXY_LIMITS(VSOCK_PROXY_LIMIT)
#undef VSOCK_PROXY_LIMIT
static_assert(kPlainRequestBytes <= kCachedHeadBytes);
static_assert(kPlainResponseBytes <= kResponseHeadBytes);

inline Family familyOf(const Address& address) {
  if (address.family() == AF_VSOCK) return Family::Vsock;
  return address.family() == AF_UNIX ? Family::Unix : Family::Tcp;
}

#define VSOCK_PROXY_AS(value, name) \
  case Refusal::value:              \
    return To::value;
// A refusal as a close reason or a kind of fault.
template <class To>
constexpr To as(Refusal refusal) {
  switch (refusal) { VSOCK_PROXY_REFUSALS(VSOCK_PROXY_AS) }
  return To{};
}
#undef VSOCK_PROXY_AS

// Whether a connection with this close reason was refused when it was accepted. It then never took a place
// under the limits of its client.
constexpr bool refusedAtAccept(CloseReason reason) {
  for (size_t i = 0; i < countOf<Refusal>(); ++i) {
    if (as<CloseReason>(static_cast<Refusal>(i)) == reason) return true;
  }
  return false;
}

// How a connection ends, or is going to end.
struct Ending {
  CloseReason reason = CloseReason::Finished;
  Party endedBy = Party::Proxy;
  int error = 0;
};

struct CloseRecord {
  ListenerId listener = 0;
  ConnectionId connection = 0;
  Address client;
  Address server;  // without a family if none was tried
  TargetId target = kNoTarget;
  uint64_t bytesUp = 0;
  uint64_t bytesDown = 0;
  int64_t queuedMicros = 0;
  int64_t connectMicros = 0;
  int64_t totalMicros = 0;
  Phase phase = Phase::Connecting;
  CloseReason reason = CloseReason::Finished;
  Party endedBy = Party::Proxy;
  int error = 0;
};

struct Progress {
  Step step = Step::Accepted;
  ListenerId listener = 0;
  ConnectionId connection = 0;
  Address client;
  Address server;               // with Connected
  TargetId target = kNoTarget;  // with Connected
};

struct Fault {
  FaultKind kind = FaultKind::Limit;
  ListenerId listener = 0;
  int error = 0;   // with Accept
  Address client;  // with a refusal
};

// The drain is over, and no connection is left.
struct Drained {
  uint64_t aborted = 0;  // connections that were still open at the deadline
};

// The addresses to dial, in order. Shared, and never changed.
using Addresses = std::shared_ptr<const std::vector<Address>>;

// A request for a Decision about a connection, which waits for it.
struct DecisionRequest {
  RequestKind kind = RequestKind::Client;
  ListenerId listener = 0;
  ConnectionId connection = 0;
  Address client;
  Address local;                                    // with Client
  TargetId target = kNoTarget;                      // with Response and Failed
  std::string bytes;                                // with Head and Response
  bool ended = false;                               // with Head and Response
  std::string head;                                 // with Response and Failed, of a Plain exchange
  CloseReason reason = CloseReason::ConnectFailed;  // with Failed
  Address server;                                   // with Failed, if one was tried
  int error = 0;                                    // with Failed
};

// The condition under which a decision also holds for other clients. The first bytes must be the same, or
// both must be plain requests for the same server.
struct CacheRule {
  struct Range {
    size_t from = 0;
    size_t to = 0;
  };
  size_t bytes = 0;           // the number of first bytes that must be the same
  std::vector<Range> except;  // bytes within them that may differ: ascending and disjoint
  int64_t lasts = 0;          // microseconds; 0: the decision is not cached
  bool byAuthority = false;   // instead of the bytes
  RequestForm form;           // with byAuthority: how such a GET is written
};

// An exchange that the control plane has not seen. The data plane has read the request, and reads the
// response.
struct PlainExchange {
  std::string head;        // of the client; empty: no such exchange
  bool keepAlive = false;  // whether the client may send another request
};

struct Decision {
  Action action = Action::Reject;
  TargetId target = kNoTarget;
  Addresses addresses;
  size_t consume = 0;
  size_t atLeast = 0;  // with More: the number of bytes before the next request
  int until = -1;      // with More: a byte that must be among the new ones; -1: any
  std::string toServer;
  std::string toClient;
  bool explain = false;                        // with Connect
  bool handshake = false;                      // with Connect
  CacheRule cache;                             // with Connect and Exchange, about a head
  bool persistent = false;                     // with Exchange
  PlainExchange plain;                         // with Exchange, from the cache
  Body body = Body::none();                    // with Exchange and Respond
  bool untilEof = false;                       // with Respond, instead of a body
  bool next = false;                           // with Respond
  bool keep = false;                           // with Respond
  CloseReason reason = CloseReason::Internal;  // with Reject
};

// An open connection.
struct LiveConnection {
  ListenerId listener = 0;
  ConnectionId connection = 0;
  Address client;
  Address server;  // without a family if none is tried
  TargetId target = kNoTarget;
  Phase phase = Phase::Connecting;
  uint64_t bytesUp = 0;
  uint64_t bytesDown = 0;
  int64_t ageMicros = 0;
  int64_t idleMicros = 0;
};

// All connections of one relay thread, for the request with this number.
struct Listing {
  uint64_t number = 0;
  std::vector<LiveConnection> connections;
};

// A decision for a connection that waits.
struct ConnectionDecision {
  ConnectionId connection = 0;
  Decision decision;
};

// The events of the data plane, by type and name.
#define VSOCK_PROXY_EVENTS(X)   \
  X(Progress, "progress")       \
  X(CloseRecord, "close")       \
  X(Fault, "fault")             \
  X(DecisionRequest, "request") \
  X(Listing, "listing")         \
  X(Drained, "drained")

NAMED_ENUM(EventKind, VSOCK_PROXY_EVENTS)

template <class Event>
constexpr EventKind kindOf();
#define VSOCK_PROXY_EVENT_KIND(Type, name) \
  template <>                              \
  constexpr EventKind kindOf<Type>() {     \
    return EventKind::Type;                \
  }
VSOCK_PROXY_EVENTS(VSOCK_PROXY_EVENT_KIND)
#undef VSOCK_PROXY_EVENT_KIND

using Event = std::variant<Progress, CloseRecord, Fault, DecisionRequest, Listing, Drained>;

}  // namespace vsock_proxy
