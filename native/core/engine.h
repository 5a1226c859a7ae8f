// The data plane as a whole: the calls of the control plane, and the events for it.

#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "worker.h"

namespace vsock_proxy {

// Only the thread that made the engine may call its functions, except `takeEvents`.
class Engine final : public WorkerObserver {
 public:
  // A relay thread calls `onEvents` when `takeEvents` has something new.
  explicit Engine(std::function<void()> onEvents) : wake_(std::move(onEvents)) {}
  ~Engine() { stop(); }

  // Starts the relay threads (1 to 64), each with a `scratch` that holds at least kRequestHeadBytes.
  // Returns 0 or an errno.
  int start(unsigned threads, ScratchSize scratch = {});
  // Ends all threads and connections. No event follows.
  void stop();

  struct Listening {
    ListenerId id = 0;
    Address on;
    const char* call = nullptr;  // the call that failed, with `error`
    int error = 0;
  };
  Listening listen(const ListenSpec& spec);
  void setUpstream(ListenerId listener, std::vector<Address> addresses);
  // Wakes each sleeping thread only once for all decisions.
  void decide(std::vector<ConnectionDecision> decisions);
  // The address is free afterwards, unless another listener has taken over the socket.
  void closeListener(ListenerId listener);
  // Closes all listeners. The event `Drained` comes when no connection is left, at the latest `limit` from
  // now.
  void drain(Micros limit);
  // Also of closed listeners, until the owner forgets them.
  std::vector<ListenerCounters> counters() const;
  // Forgets a closed listener without connections. Any other stays.
  void forget(ListenerId listener);
  std::vector<ClientCounters> clients() const { return clients_.read(); }
  // Makes every thread list its connections in an event `Listing` with this number.
  void list(uint64_t number);
  // The processor time of each relay thread.
  std::vector<double> threadSeconds() const;
  // Whether every thread has run since the last call.
  bool beat();

  std::vector<Event> takeEvents();

 private:
  void onConnectionBegun() override { ++active_; }
  void onConnectionsGone(size_t count, size_t aborted) override;
  Worker& ownerFor(Worker& worker) override;
  void openGates(const ClosedGates& gates) override;
  void onEvents(std::vector<Event>& events) override;
  bool congested() const override;
  void onDraining() override;
  void tellWhenDrained();

  const std::function<void()> wake_;
  ClientTotals clients_;
  std::vector<std::unique_ptr<Worker>> workers_;
  struct Listener {
    std::shared_ptr<ListenerState> state;
    std::shared_ptr<ListenSocket> socket;  // null after close
  };
  // Null if the engine no longer holds it.
  std::shared_ptr<ListenSocket> letGo(ListenerId listener, bool acceptQueued);
  Opened openSocket(const ListenSpec& spec, std::shared_ptr<SocketFile>& file) const;
  std::map<ListenerId, Listener> listeners_;
  ListenerId lastListener_ = 0;
  uint64_t beats_ = 0;

  std::atomic<uint64_t> active_{0};
  std::atomic<uint64_t> aborted_{0};
  std::atomic<unsigned> draining_{0};  // the workers that still drain
  std::atomic<bool> drained_{false};

  std::mutex eventsMutex_;
  std::vector<Event> events_;
  std::atomic<size_t> eventsQueued_{0};
};

}  // namespace vsock_proxy
