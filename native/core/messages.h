// What the data plane tells about connections and listeners, and what it is told about them: plain
// values that may cross threads. src/dataplane/contract.ts explains them.

#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "body.h"
#include "socket.h"

namespace vsock_proxy {

using ListenerId = uint32_t;
using ConnectionId = uint64_t;

// The control plane's name for what a client asked for.
using TargetId = int64_t;
constexpr TargetId kNoTarget = -1;

enum class Party : uint8_t { Client, Server, Proxy };
enum class Phase : uint8_t { Deciding, Connecting, Relaying };

// Why a connection ended.
enum class CloseReason : uint8_t {
  Finished,
  Reset,
  ConnectFailed,
  NoUpstream,
  ConnectTimeout,
  IdleTimeout,
  Drained,
  Internal,
  HeadTimeout,
  Denied,
  Malformed,
  NotAdmitted,
  ClientLimit,
  ClientRate,
  DecisionTimeout,
};
constexpr size_t kCloseReasons = 15;

// Whether a connection that ended so was refused when it was accepted: it never had a place under the limits
// of its client.
constexpr bool refusedAtAccept(CloseReason reason) {
  switch (reason) {
    case CloseReason::NotAdmitted:
    case CloseReason::ClientLimit:
    case CloseReason::ClientRate:
      return true;
    case CloseReason::Finished:
    case CloseReason::Reset:
    case CloseReason::ConnectFailed:
    case CloseReason::NoUpstream:
    case CloseReason::ConnectTimeout:
    case CloseReason::IdleTimeout:
    case CloseReason::Drained:
    case CloseReason::Internal:
    case CloseReason::HeadTimeout:
    case CloseReason::Denied:
    case CloseReason::Malformed:
    case CloseReason::DecisionTimeout:
      return false;
  }
  return false;
}

struct CloseRecord {
  ListenerId listener = 0;
  ConnectionId connection = 0;
  Address client;
  Address server;  // of no family where none was tried
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
  enum class Step : uint8_t { Accepted, Connected };
  Step step = Step::Accepted;
  ListenerId listener = 0;
  ConnectionId connection = 0;
  Address client;
  Address server;               // with Connected
  TargetId target = kNoTarget;  // with Connected
};

struct Fault {
  enum class Kind : uint8_t { Limit, Accept, NotAdmitted, ClientLimit, ClientRate };
  Kind kind = Kind::Limit;
  ListenerId listener = 0;
  int error = 0;   // with Accept
  Address client;  // with the last three
};
constexpr size_t kFaultKinds = 5;

// The drain is over: no connection is left.
struct Drained {
  uint64_t aborted = 0;  // that were still open at the deadline
};

// A question about a connection, which waits for the Decision.
struct DecisionRequest {
  enum class Kind : uint8_t { Client, Head, Response, Failed };
  Kind kind = Kind::Client;
  ListenerId listener = 0;
  ConnectionId connection = 0;
  Address client;
  Address local;                                    // with Client
  TargetId target = kNoTarget;                      // with Response and Failed
  std::string bytes;                                // with Head and Response
  bool ended = false;                               // with Head and Response
  CloseReason reason = CloseReason::ConnectFailed;  // with Failed
  Address server;                                   // with Failed, if one was tried
  int error = 0;                                    // with Failed
};

// What makes other clients equal to the one that a decision is about, so that it holds for them too.
struct CacheRule {
  struct Range {
    size_t from = 0;
    size_t to = 0;
  };
  size_t bytes = 0;           // so many of the first are the same,
  std::vector<Range> except;  // but for these: in ascending order, apart, and within
  int64_t lasts = 0;          // microseconds; 0: it is none
};

struct Decision {
  enum class Action : uint8_t { More, Connect, Exchange, Interim, Respond, Relay, Reject };
  Action action = Action::Reject;
  TargetId target = kNoTarget;
  std::vector<Address> addresses;
  size_t consume = 0;
  size_t atLeast = 0;  // with More: bytes in all, before the next question
  int until = -1;      // with More: a byte that must be among the new ones; -1: any
  std::string toServer;
  std::string toClient;
  bool explain = false;                        // with Connect
  bool handshake = false;                      // with Connect
  CacheRule cache;                             // with Connect, about a head
  Body body = Body::none();                    // with Exchange and Respond
  bool untilEof = false;                       // with Respond, instead of a body
  bool next = false;                           // with Respond
  CloseReason reason = CloseReason::Internal;  // with Reject
};

// What is to become of a connection that waits.
struct ConnectionDecision {
  ConnectionId connection = 0;
  Decision decision;
};

using Event = std::variant<Progress, CloseRecord, Fault, Drained, DecisionRequest>;

}  // namespace vsock_proxy
