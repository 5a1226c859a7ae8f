// A listener has two parts: the state that all relay threads share, and the gate of each thread.
//
// Every thread waits on the same listening socket and keeps the connections that it accepts. A place under
// the limit is taken before accept(2), so that clients stay in the kernel's queue at the limit. A thread
// that finds no place closes its gate. A thread that frees a place opens the closed gates again.

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

// Which clients may connect.
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
  uint32_t connections = 1;           // open connections; further clients wait
  uint32_t connectionsPerClient = 0;  // of one client; further ones are refused; 0: no limit
  uint32_t ratePerClient = 0;     // new ones of one client per second; further ones are refused; 0: no limit
  uint32_t vsockBufferBytes = 0;  // that a vsock peer may have sent unread; 0: what the kernel gives
};

struct ListenSpec {
  ListenerKind kind = ListenerKind::Fixed;
  Address on;                // without a family if the socket already exists:
  int inherited = -1;        // as this descriptor, made by another process,
  uint32_t predecessor = 0;  // or as the socket of this listener
  ListenerLimits limits;
  Admission admission;
  ConnectionTimeouts timeouts;
  ReportKind report = ReportKind::Failures;
};

// 1xx to 5xx.
constexpr size_t kStatusClasses = 5;

struct ListenerCounters {
  ListenerId listener = 0;
  uint64_t accepted = 0;
  uint64_t active = 0;
  uint64_t bytesUp = 0;
  uint64_t bytesDown = 0;
  std::array<uint64_t, countOf<CloseReason>()> closed{};
  uint64_t limitHits = 0;
  uint64_t limitWaitMicros = 0;
  Micros waitingSince = 0;  // 0: no client waits
  HistogramCounts connect;
  HistogramCounts duration;
  HistogramCounts queued;
  uint64_t decisionsCached = 0;
  uint64_t decisionsRequested = 0;
  uint64_t exchangesCached = 0;
  std::array<uint64_t, kStatusClasses> answers{};
};

// The places on a listening socket. If several listeners use the socket one after the other, the limit of
// connections of the last one counts those of all. Its limits per client count those of the listeners that
// had a limit per client, too; the others do not count clients.
struct Occupancy {
  explicit Occupancy(ListenerId listener) : listener(listener) {}

  // The connections and tokens of one client, if these are limited. A client without connections and with
  // all its tokens is forgotten.
  struct Client {
    uint32_t active = 0;
    double tokens = 0;
    Micros at = 0;
  };

  std::atomic<ListenerId> listener;  // the listener that has the socket now
  // The lower half counts connections. The upper half counts places for clients that are being accepted.
  std::atomic<uint64_t> places{0};
  std::atomic<uint64_t> closedGates{0};
  std::mutex clientsMutex;
  std::unordered_map<std::string, Client> clients;
};

// A set of gates, one bit for each thread, and the listener of these gates.
struct ClosedGates {
  ListenerId listener = 0;
  uint64_t bits = 0;
};

// All threads and the connections of the listener share this object. Any thread may call any function.
class ListenerState {
 public:
  // `predecessor`: the listener whose socket it takes over, if any. `clients` outlives it.
  ListenerState(ListenerId id, const ListenSpec& spec, const ListenerState* predecessor,
                ClientTotals& clients);

  const ListenerId id;
  const ListenSpec spec;

  // The addresses of the server for all clients: null until they are known, and for other kinds than Fixed.
  Upstream upstream() const;
  void setUpstream(Upstream upstream);

  // Whether one is the other's successor, or they have one predecessor.
  bool sharesSocketWith(const ListenerState& other) const;
  // Takes the socket back after a successor was closed. Returns whether there was one.
  bool takeBackFrom(const ListenerState& closed);

  // Takes a place under the limit, for the next client. Returns false if there is none.
  bool enter();
  // Whether accepted connections have all places. Places for clients that are being accepted do not count.
  bool full() const { return acceptedIn(occupancy_->places) >= spec.limits.connections; }
  // The client was accepted. Returns how long the first client of the queue had waited.
  Micros entered(Micros now);
  // There was no client. Returns the closed gates that may open now.
  ClosedGates giveBack();
  // A connection has ended. Returns gates as `giveBack` does.
  ClosedGates leave(const CloseRecord& record);
  // Checks admission and the limits of this client, after `entered`. Returns why it is refused, or nothing.
  // A refused client must `leave` with that reason.
  std::optional<Refusal> admit(const Address& client, Micros now);
  // Closes the gate `bit`. Returns false if a place became free meanwhile; then the gate stays open.
  bool closeGate(uint64_t bit);

  void countRequestedDecision() { decisionsRequested_.fetch_add(1, std::memory_order_relaxed); }
  void countCachedDecision(Action action) {
    decisionsCached_.fetch_add(1, std::memory_order_relaxed);
    if (action == Action::Exchange) exchangesCached_.fetch_add(1, std::memory_order_relaxed);
  }
  // By its status: of a response that no decision was requested about.
  void countAnswer(unsigned status) { answers_[status / 100 - 1].fetch_add(1, std::memory_order_relaxed); }

  // Notes that a client waits. Returns true if that is new.
  bool noteWaiting(Micros now);
  // A gate was shut: who waits in the queue now waits for another listener, or for none.
  void endWaiting() { waitingSince_ = 0; }
  // At most once a second for each kind.
  bool mayReport(FaultKind kind, Micros now);

  ListenerCounters counters() const;
  // Open connections.
  uint64_t active() const { return active_; }

 private:
  static constexpr uint64_t kAccepted = 1;
  static constexpr uint64_t kTaken = uint64_t{1} << 32;
  static uint64_t acceptedIn(uint64_t places) { return places % kTaken; }
  static uint64_t usedIn(uint64_t places) { return places % kTaken + places / kTaken; }
  ClosedGates openableGates();

  const std::shared_ptr<Occupancy> occupancy_;
  mutable std::mutex upstreamMutex_;
  Upstream upstream_;
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
  std::atomic<uint64_t> exchangesCached_{0};
  std::array<std::atomic<uint64_t>, kStatusClasses> answers_{};
  ClientTotals& clients_;

  bool limitsClients() const {
    return spec.limits.connectionsPerClient != 0 || spec.limits.ratePerClient != 0;
  }
  std::optional<Refusal> findRefusal(const Address& client, Micros now);
  void forgetQuietClients(Micros now);
};

// The file of a unix listener. It is removed when no socket uses it.
class SocketFile {
 public:
  explicit SocketFile(const Address& on) : on_(on) {}
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;
  ~SocketFile() { removeSocketFile(on_); }

 private:
  Address on_;
};

// The listening socket. It is closed when the last gate is gone.
class ListenSocket {
 public:
  ListenSocket(UniqueFd fd, std::shared_ptr<SocketFile> file, bool inherited)
      : fd_(std::move(fd)), file_(std::move(file)), inherited_(inherited) {}
  int fd() const { return fd_.get(); }
  const std::shared_ptr<SocketFile>& file() const { return file_; }
  // Leaves the file and the queue to the process that made the socket, for a later process.
  bool inherited() const { return inherited_; }

 private:
  UniqueFd fd_;
  std::shared_ptr<SocketFile> file_;  // null if the file is not ours
  const bool inherited_;
};

class Gate;

class GateObserver {
 public:
  // A connection came in, and it has a place.
  virtual void onAccepted(Gate& gate, UniqueFd client, const Address& peer, Micros queued) = 0;
  virtual void onFault(const Fault& fault) = 0;
  // A place became free, and these gates may open.
  virtual void onPlaceFreed(const ClosedGates& gates) = 0;
  // The control plane is behind with its events, so no client is accepted now.
  virtual bool congested() const = 0;

 protected:
  ~GateObserver() = default;
};

// The gate of one thread to a listener. Call `shut` first, then retire it.
class Gate final : public Watch {
 public:
  // `bit` is this thread's bit in the set of gates.
  Gate(Loop& loop, GateObserver& observer, std::shared_ptr<ListenSocket> socket,
       std::shared_ptr<ListenerState> state, uint64_t bit);
  ~Gate() { loop_.disarm(retry_); }

  void open();
  // Accepts the clients in the queue, as far as there are places. These clients consider themselves
  // connected, and closing the socket would reset them.
  void acceptQueued();
  // Looks for clients of whom the kernel has told a gate that is shut now. With EPOLLEXCLUSIVE it may tell
  // only one of several gates to a socket: epoll_ctl(2).
  void look();
  // Closes the gate for good, and releases the listening socket.
  void shut();
  const std::shared_ptr<ListenerState>& state() const { return state_; }

  DecisionCache cache;

 private:
  void onReady(uint32_t events) override;
  // Returns false if there was no client, or if no client can be accepted now.
  bool acceptOne();
  void close();
  void pause();
  void starve(int error);
  void refuse(UniqueFd client, const Address& peer, Refusal refusal);

  Loop& loop_;
  GateObserver& observer_;
  std::shared_ptr<ListenSocket> socket_;  // null after `shut`
  const std::shared_ptr<ListenerState> state_;
  const uint64_t bit_;
  bool open_ = false;
  Timer retry_;
};

}  // namespace vsock_proxy
