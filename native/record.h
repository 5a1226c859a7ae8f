// What the data plane tells about connections and listeners: plain values that may cross threads.

#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "socket.h"

namespace vsock_proxy {

using ListenerId = uint32_t;
using ConnectionId = uint64_t;

enum class Party : uint8_t { Client, Server, Proxy };
enum class Phase : uint8_t { Asking, Connecting, Relaying };

// Why a connection ended; src/dataplane/contract.ts explains each.
enum class CloseReason : uint8_t {
  Finished,
  Reset,
  ConnectFailed,
  NoUpstream,
  ConnectTimeout,
  IdleTimeout,
  Drained,
  Internal,
};
constexpr size_t kCloseReasons = 8;

struct CloseRecord {
  ListenerId listener = 0;
  ConnectionId connection = 0;
  Address client;
  Address server;  // of no family where none was tried
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
  Address server;  // with Connected
};

struct Fault {
  enum class Kind : uint8_t { Limit, Accept };
  Kind kind = Kind::Limit;
  ListenerId listener = 0;
  int error = 0;  // with Accept
};

// The drain is over: no connection is left.
struct Drained {
  uint64_t aborted = 0;  // that were still open at the deadline
};

using Event = std::variant<Progress, CloseRecord, Fault, Drained>;

}  // namespace vsock_proxy
