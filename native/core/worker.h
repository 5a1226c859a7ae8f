// One relay thread, with its gates to the listeners and its connections.

#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "connection.h"
#include "listener.h"
#include "loop.h"
#include "messages.h"
#include "thread.h"

namespace vsock_proxy {

// An accepted client on its way to the thread that keeps it.
struct Accepted {
  UniqueFd client;
  CloseRecord record;
  std::shared_ptr<ListenerState> listener;
};

class Worker;

// The observer that all relay threads share.
class WorkerObserver {
 public:
  // A new connection exists.
  virtual void onConnectionBegun() = 0;
  // Connections are gone, some of them aborted, and all their events are delivered.
  virtual void onConnectionsGone(size_t count, size_t aborted) = 0;
  // The thread that keeps a connection which `worker` accepted.
  virtual Worker& ownerFor(Worker& worker) = 0;
  virtual void openGates(const ClosedGates& gates) = 0;
  virtual void onEvents(std::vector<Event>& events) = 0;
  virtual bool congested() const = 0;
  // A thread has no more gates.
  virtual void onDraining() = 0;

 protected:
  ~WorkerObserver() = default;
};

class Worker final : public ConnectionObserver, public GateObserver {
 public:
  // One of `workers` threads.
  Worker(unsigned index, unsigned workers, ScratchSize scratch, WorkerObserver& observer);
  ~Worker();

  // Returns 0 or an errno.
  int start();
  void stop();

  // Any thread may call the following functions. They take effect in the order of the calls.
  void addListener(std::shared_ptr<ListenSocket> socket, std::shared_ptr<ListenerState> state);
  // Connects the clients that wait for the addresses of the server, also those of a closed listener.
  void dialWaiting(ListenerId listener, Upstream upstream);
  // `acceptQueued`: clients in the queue are still served.
  void removeListener(ListenerId listener, bool acceptQueued);
  void openGate(ListenerId listener);
  void take(Accepted accepted);
  void decide(std::vector<ConnectionDecision> decisions);
  void beat(uint64_t number);
  void list(uint64_t number);
  // Aborts the remaining connections at `deadline`. The gates must be removed before.
  void drain(Micros deadline);

  // The number of connections, including those on their way to this thread.
  size_t load() const { return load_.load(std::memory_order_relaxed); }
  // The processor time so far.
  double cpuSeconds() const { return thread_.cpuSeconds(); }
  // The last beat for which the thread has run.
  uint64_t beats() const { return beats_; }
  // The worker that keeps a connection.
  static unsigned ownerOf(ConnectionId connection, unsigned workers) {
    return static_cast<unsigned>(connection % workers);
  }

 private:
  struct Live {
    std::unique_ptr<Connection> connection;
    std::shared_ptr<ListenerState> listener;
  };

  // Null if the listener is closed.
  Gate* gateOf(ListenerId listener);
  void keep(Accepted accepted);
  void report(Event event) { events_.push_back(std::move(event)); }
  void abortAll();
  void returnMemory();

  ConnectionId newId() { return ++begun_ * workers_ + index_; }

  void onDecisionRequest(Connection& connection) override;
  void onAnswered(Connection& connection, unsigned status) override;
  void onConnected(Connection& connection) override;
  void onClosed(Connection& connection) override;
  void onAccepted(Gate& gate, UniqueFd client, const Address& peer, Micros queued) override;
  void onFault(const Fault& fault) override { report(fault); }
  void onPlaceFreed(const ClosedGates& gates) override;
  bool congested() const override { return observer_.congested(); }
  bool draining() const override { return drainBy_ != 0; }

  const unsigned index_;
  const unsigned workers_;
  WorkerObserver& observer_;
  std::atomic<size_t> load_{0};
  std::atomic<uint64_t> begun_{0};
  std::atomic<uint64_t> beats_{0};
  Loop loop_;
  std::map<ListenerId, std::unique_ptr<Gate>> gates_;
  std::vector<Live> live_;
  std::unordered_map<ConnectionId, Connection*> undecided_;  // connections that wait for their decision
  size_t mostLive_ = 0;
  // Since the last round.
  std::vector<Event> events_;
  size_t gone_ = 0;
  size_t aborted_ = 0;  // among those that are gone
  Micros drainBy_ = 0;  // 0: not draining
  Timer drainDeadline_{[this] { abortAll(); }};
  Timer calm_{[this] { returnMemory(); }};
  Thread thread_;  // the last member, because it uses all others
};

}  // namespace vsock_proxy
