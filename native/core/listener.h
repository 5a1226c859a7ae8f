// A listener, in two parts: what all relay threads share of it, and the gate of one thread.
//
// Every thread waits on the same listening socket and keeps the connections that it accepts. A place
// under the limit is taken before accept(2), so at the limit clients stay in the kernel's queue. A
// thread that finds no place closes its gate; whoever frees a place opens the closed gates again.

#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "client_totals.h"
#include "connection.h"
#include "decision_cache.h"
#include "histogram.h"
#include "loop.h"
#include "messages.h"

namespace vsock_proxy {

// Which clients may connect at all.
struct Admission {
  struct Prefix {
    Address network;
    unsigned bits = 0;
  };
  std::optional<std::vector<uint32_t>> cids;   // none: all
  std::optional<std::vector<Prefix>> sources;  // none: all

  bool admits(const Address& client) const;
};

struct ListenerLimits {
  uint32_t connections = 1;           // open at once; further clients wait
  uint32_t connectionsPerClient = 0;  // further ones are refused; 0: no limit
  uint32_t ratePerClient = 0;         // new connections per second; further ones are refused; 0: no limit
};

struct ListenSpec {
  ListenerKind kind = ListenerKind::Fixed;
  Address on;                // of no family where the socket exists already:
  int inherited = -1;        // as this descriptor of another maker,
  uint32_t predecessor = 0;  // or as that of this listener
  ListenerLimits limits;
  Admission admission;
  ConnectionTimeouts timeouts;
  ReportKind report = ReportKind::Failures;
};

struct ListenerCounters {
  ListenerId listener = 0;
  uint64_t accepted = 0;
  uint64_t active = 0;
  uint64_t bytesUp = 0;
  uint64_t bytesDown = 0;
  std::array<uint64_t, countOf<CloseReason>()> closed{};
  uint64_t limitHits = 0;
  uint64_t limitWaitMicros = 0;
  Micros waitingSince = 0;  // 0: nobody waits
  HistogramCounts connect;
  HistogramCounts duration;
  HistogramCounts queued;
  uint64_t decisionsCached = 0;
  uint64_t decisionsRequested = 0;
};

// Who has places on a listening socket, whichever listeners it passes through: the limits of the last
// one count the connections of all.
struct Occupancy {
  explicit Occupancy(ListenerId listener) : listener(listener) {}

  // What one client has, where that is limited. One without connections, whose tokens are all there
  // again, is forgotten.
  struct Client {
    uint32_t active = 0;
    double tokens = 0;
    Micros at = 0;
  };

  std::atomic<ListenerId> listener;  // that has the socket now
  // Connections in the lower half; in the upper half, places taken whose client is being accepted.
  std::atomic<uint64_t> places{0};
  std::atomic<uint64_t> closedGates{0};
  std::mutex clientsMutex;
  std::unordered_map<std::string, Client> clients;
};

// A set of gates, a bit a thread, and the listener that they lead to.
struct ClosedGates {
  ListenerId listener = 0;
  uint64_t bits = 0;
};

// Shared by all threads and by the connections of the listener. Every member function may be called
// from any thread.
class ListenerState {
 public:
  // `predecessor`: the listener whose socket it takes over, if it does. `clients` outlives it.
  ListenerState(ListenerId id, const ListenSpec& spec, const ListenerState* predecessor,
                ClientTotals& clients);

  const ListenerId id;
  const ListenSpec spec;

  // Has the socket again after a listener that had taken it over has been closed. Returns whether it had.
  bool takeBackFrom(const ListenerState& closed);

  // Takes a place under the limit, for the client that is accepted next; false when there is none.
  bool enter();
  // Whether accepted connections have all places, as opposed to places taken for clients still to come.
  bool full() const { return acceptedIn(occupancy_->places) >= spec.limits.connections; }
  // The client was accepted; returns how long the head of the queue had been waiting.
  Micros entered(Micros now);
  // No client was there. Returns the gates that are closed and may open now.
  ClosedGates giveBack();
  // A connection has ended. Returns gates like `giveBack`.
  ClosedGates leave(const CloseRecord& record);
  // Checks admission and the limits of this client, after `entered`. Returns why it is refused, or nothing. A
  // client that is refused must `leave` with that reason.
  std::optional<Refusal> admit(const Address& client, Micros now);
  // Notes that the gate `bit` is closed; false when a place became free meanwhile, and it is open.
  bool closeGate(uint64_t bit);

  void countDecision(bool cached) {
    (cached ? decisionsCached_ : decisionsRequested_).fetch_add(1, std::memory_order_relaxed);
  }

  // A client was seen waiting. True when that is new.
  bool noteWaiting(Micros now);
  // At most once a second and kind.
  bool mayReport(FaultKind kind, Micros now);

  ListenerCounters counters() const;

 private:
  static constexpr uint64_t kAccepted = 1;
  static constexpr uint64_t kTaken = uint64_t{1} << 32;
  static uint64_t acceptedIn(uint64_t places) { return places % kTaken; }
  static uint64_t usedIn(uint64_t places) { return places % kTaken + places / kTaken; }
  ClosedGates openableGates();

  const std::shared_ptr<Occupancy> occupancy_;
  std::atomic<uint64_t> active_{0};
  std::atomic<Micros> waitingSince_{0};
  std::array<std::atomic<Micros>, countOf<FaultKind>()> reportedAt_{};
  std::atomic<uint64_t> accepted_{0};
  std::atomic<uint64_t> bytesUp_{0};
  std::atomic<uint64_t> bytesDown_{0};
  std::array<std::atomic<uint64_t>, countOf<CloseReason>()> closed_{};
  std::atomic<uint64_t> limitHits_{0};
  std::atomic<uint64_t> limitWaitMicros_{0};
  Histogram connect_;
  Histogram duration_;
  Histogram queued_;
  std::atomic<uint64_t> decisionsCached_{0};
  std::atomic<uint64_t> decisionsRequested_{0};
  ClientTotals& clients_;

  bool limitsClients() const {
    return spec.limits.connectionsPerClient != 0 || spec.limits.ratePerClient != 0;
  }
  std::optional<Refusal> findRefusal(const Address& client, Micros now);
  void forgetQuietClients(Micros now);
};

// The file of a unix listener; removed when no socket of it is left.
class SocketFile {
 public:
  explicit SocketFile(const Address& on) : on_(on) {}
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;
  ~SocketFile() { removeSocketFile(on_); }

 private:
  Address on_;
};

// The listening socket; closed when the last gate is gone.
class ListenSocket {
 public:
  ListenSocket(UniqueFd fd, std::shared_ptr<SocketFile> file, bool inherited)
      : fd_(std::move(fd)), file_(std::move(file)), inherited_(inherited) {}
  int fd() const { return fd_.get(); }
  const std::shared_ptr<SocketFile>& file() const { return file_; }
  // Its maker keeps it, and whoever waits in its queue, for a later process.
  bool inherited() const { return inherited_; }

 private:
  UniqueFd fd_;
  std::shared_ptr<SocketFile> file_;  // null where the file is not ours
  const bool inherited_;
};

class Gate;

class GateObserver {
 public:
  // A connection came in, and has a place.
  virtual void onAccepted(Gate& gate, UniqueFd client, const Address& peer, Micros queued) = 0;
  virtual void onFault(const Fault& fault) = 0;
  // A place became free: these may open.
  virtual void onPlaceFreed(const ClosedGates& gates) = 0;
  // The control plane is behind with its events: accept nothing for now.
  virtual bool congested() const = 0;

 protected:
  ~GateObserver() = default;
};

// One thread's way into a listener. Shut it, then retire it.
class Gate final : public Watch {
 public:
  // `bit`: this thread's, in ListenerState's set of gates.
  Gate(Loop& loop, GateObserver& observer, std::shared_ptr<ListenSocket> socket,
       std::shared_ptr<ListenerState> state, uint64_t bit);
  ~Gate() { loop_.disarm(retry_); }

  void open();
  // Accepts who is in the queue, as far as there are places: they take themselves for connected, and a socket
  // that closes resets them.
  void acceptQueued();
  // For good: the listening socket is let go of.
  void shut();
  const std::shared_ptr<ListenerState>& state() const { return state_; }

  Upstream upstream;  // null until it is known
  DecisionCache cache;

 private:
  void onReady(uint32_t events) override;
  // Returns false when nobody was there, or nobody can be accepted now.
  bool acceptOne();
  void close();
  void pause();
  void starve(int error);
  void refuse(UniqueFd client, const Address& peer, Refusal refusal);

  Loop& loop_;
  GateObserver& observer_;
  std::shared_ptr<ListenSocket> socket_;  // null once shut
  const std::shared_ptr<ListenerState> state_;
  const uint64_t bit_;
  bool open_ = false;
  Timer retry_;
};

}  // namespace vsock_proxy
