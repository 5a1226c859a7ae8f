#include "engine.h"

#include <algorithm>
#include <iterator>
#include <thread>

namespace vsock_proxy {
namespace {

// A connection goes to another thread if that one has fewer connections by this number.
constexpr size_t kImbalance = 4;
// Accepting pauses if this many events wait for the control plane.
constexpr size_t kMostEventsQueued = 16 * 1024;
// How long `closeListener` waits for the threads: many rounds of a running thread.
constexpr Micros kLettingGo = 100 * 1000;

}  // namespace

int Engine::start(unsigned threads, ScratchSize scratch) {
  for (unsigned i = 0; i < threads; ++i) {
    workers_.push_back(std::make_unique<Worker>(i, threads, scratch, *this));
  }
  for (const auto& worker : workers_) {
    const int error = worker->start();
    if (error != 0) return error;
  }
  return 0;
}

void Engine::stop() {
  for (const auto& worker : workers_) worker->stop();
  workers_.clear();
}

Opened Engine::openSocket(const ListenSpec& spec, std::shared_ptr<SocketFile>& file) const {
  if (spec.inherited >= 0) return duplicateListening(spec.inherited);
  if (spec.predecessor != 0) {
    const auto other = listeners_.find(spec.predecessor);
    if (other == listeners_.end() || !other->second.socket) return {UniqueFd(), "listen", EBADF};
    file = other->second.socket->file();
    return duplicateListening(other->second.socket->fd());
  }
  Opened opened = listenOn(spec.on);
  if (opened.fd && spec.on.family() == AF_UNIX) file = std::make_shared<SocketFile>(spec.on);
  return opened;
}

Engine::Listening Engine::listen(const ListenSpec& spec) {
  std::shared_ptr<SocketFile> file;
  Opened opened = openSocket(spec, file);
  if (!opened.fd) return {0, {}, opened.call, opened.error};
  const ListenerId id = ++lastListener_;
  const Address on = localAddress(opened.fd.get());
  prepareAccepted(opened.fd.get(), on, spec.limits.vsockBufferBytes);
  const auto predecessor = spec.predecessor == 0 ? listeners_.end() : listeners_.find(spec.predecessor);
  const bool inherited =
      spec.inherited >= 0 || (predecessor != listeners_.end() && predecessor->second.socket->inherited());
  const auto socket = std::make_shared<ListenSocket>(std::move(opened.fd), std::move(file), inherited);
  const auto state = std::make_shared<ListenerState>(
      id, spec, predecessor == listeners_.end() ? nullptr : predecessor->second.state.get(), clients_);
  listeners_.emplace(id, Listener{state, socket});
  for (const auto& worker : workers_) worker->addListener(socket, state);
  return {id, on};
}

void Engine::setUpstream(ListenerId listener, std::vector<Address> addresses) {
  const Upstream upstream = std::make_shared<const std::vector<Address>>(std::move(addresses));
  // Clients of a listener that is forgotten may wait, too: the threads may have been about to accept them.
  const auto known = listeners_.find(listener);
  if (known != listeners_.end()) known->second.state->setUpstream(upstream);
  for (const auto& worker : workers_) worker->dialWaiting(listener, upstream);
}

void Engine::decide(std::vector<ConnectionDecision> decisions) {
  const auto workers = static_cast<unsigned>(workers_.size());
  std::vector<std::vector<ConnectionDecision>> byWorker(workers);
  for (ConnectionDecision& one : decisions) {
    byWorker[Worker::ownerOf(one.connection, workers)].push_back(std::move(one));
  }
  for (unsigned i = 0; i < workers; ++i) {
    if (!byWorker[i].empty()) workers_[i]->decide(std::move(byWorker[i]));
  }
}

void Engine::closeListener(ListenerId listener) {
  const std::shared_ptr<ListenSocket> socket = letGo(listener, false);
  // The address is free when no thread has the socket: after the current round of each thread, unless one
  // hangs.
  const Micros deadline = monotonicMicros() + kLettingGo;
  while (socket.use_count() > 1 && monotonicMicros() < deadline) std::this_thread::yield();
  const auto closed = listeners_.find(listener);
  if (closed == listeners_.end()) return;
  for (const auto& [id, other] : listeners_) {
    // Gates that closed while the other listener had the socket would stay closed.
    if (other.socket && other.state->takeBackFrom(*closed->second.state)) openGates({id, ~uint64_t{0}});
  }
}

std::shared_ptr<ListenSocket> Engine::letGo(ListenerId listener, bool acceptQueued) {
  const auto known = listeners_.find(listener);
  if (known == listeners_.end() || !known->second.socket) return nullptr;
  for (const auto& worker : workers_) worker->removeListener(listener, acceptQueued);
  return std::move(known->second.socket);
}

// Clients in the queue consider themselves connected, and closing the socket would reset them.
void Engine::drain(Micros limit) {
  for (const auto& [id, listener] : listeners_) {
    letGo(id, listener.socket && !listener.socket->inherited());
  }
  const Micros deadline = monotonicMicros() + limit;
  for (const auto& worker : workers_) worker->drain(deadline);
}

std::vector<ListenerCounters> Engine::counters() const {
  std::vector<ListenerCounters> all;
  for (const auto& [id, listener] : listeners_) all.push_back(listener.state->counters());
  return all;
}

void Engine::forget(ListenerId listener) {
  const auto known = listeners_.find(listener);
  if (known == listeners_.end() || known->second.socket || known->second.state->active() != 0) return;
  listeners_.erase(known);
}

void Engine::list(uint64_t number) {
  for (const auto& worker : workers_) worker->list(number);
}

std::vector<double> Engine::threadSeconds() const {
  std::vector<double> all;
  for (const auto& worker : workers_) all.push_back(worker->cpuSeconds());
  return all;
}

bool Engine::beat() {
  const bool alive = std::all_of(workers_.begin(), workers_.end(),
                                 [this](const auto& worker) { return worker->beats() == beats_; });
  ++beats_;
  for (const auto& worker : workers_) worker->beat(beats_);
  return alive;
}

std::vector<Event> Engine::takeEvents() {
  std::vector<Event> events;
  const std::lock_guard<std::mutex> lock(eventsMutex_);
  events.swap(events_);
  eventsQueued_ = 0;
  return events;
}

void Engine::onConnectionsGone(size_t count, size_t aborted) {
  aborted_ += aborted;
  active_ -= count;
  tellWhenDrained();
}

Worker& Engine::ownerFor(Worker& worker) {
  const auto& least = *std::min_element(workers_.begin(), workers_.end(),
                                        [](const auto& a, const auto& b) { return a->load() < b->load(); });
  return least->load() + kImbalance <= worker.load() ? *least : worker;
}

void Engine::openGates(const ClosedGates& gates) {
  for (unsigned i = 0; i < workers_.size(); ++i) {
    if ((gates.bits & (uint64_t{1} << i)) != 0) workers_[i]->openGate(gates.listener);
  }
}

void Engine::onEvents(std::vector<Event>& events) {
  bool wasEmpty = false;
  {
    const std::lock_guard<std::mutex> lock(eventsMutex_);
    wasEmpty = events_.empty();
    std::move(events.begin(), events.end(), std::back_inserter(events_));
    eventsQueued_ = events_.size();
  }
  if (wasEmpty) wake_();
}

bool Engine::congested() const { return eventsQueued_.load(std::memory_order_relaxed) > kMostEventsQueued; }

void Engine::onDraining() {
  ++draining_;
  tellWhenDrained();
}

void Engine::tellWhenDrained() {
  if (draining_ != workers_.size() || active_ != 0 || drained_.exchange(true)) return;
  std::vector<Event> events{Drained{aborted_}};
  onEvents(events);
}

}  // namespace vsock_proxy
