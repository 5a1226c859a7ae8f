#include "engine.h"

#include <algorithm>
#include <iterator>

namespace vsock_proxy {
namespace {

// A connection goes to another thread if that one has so many fewer.
constexpr size_t kImbalance = 4;
// Events that may wait for the control plane before accepting pauses.
constexpr size_t kMostEventsQueued = 16 * 1024;

}  // namespace

int Engine::start(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) workers_.push_back(std::make_unique<Worker>(i, *this));
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

Engine::Listening Engine::listen(const ListenSpec& spec) {
  Opened opened = listenOn(spec.on);
  if (!opened.fd) return {0, opened.call, opened.error};
  const ListenerId id = ++lastListener_;
  const auto socket = std::make_shared<ListenSocket>(std::move(opened.fd), spec.on);
  const auto state = std::make_shared<ListenerState>(id, spec);
  listeners_.emplace(id, state);
  for (const auto& worker : workers_) worker->addListener(socket, state);
  return {id};
}

void Engine::setUpstream(ListenerId listener, std::vector<Address> addresses) {
  const Upstream upstream = std::make_shared<const std::vector<Address>>(std::move(addresses));
  for (const auto& worker : workers_) worker->setUpstream(listener, upstream);
}

void Engine::closeListener(ListenerId listener) {
  for (const auto& worker : workers_) worker->removeListener(listener);
}

void Engine::drain(Micros limit) {
  for (const auto& [id, state] : listeners_) closeListener(id);
  const Micros deadline = monotonicMicros() + limit;
  for (const auto& worker : workers_) worker->drain(deadline);
}

std::vector<ListenerCounters> Engine::counters() const {
  std::vector<ListenerCounters> all;
  for (const auto& [id, state] : listeners_) all.push_back(state->counters());
  return all;
}

std::vector<Event> Engine::takeEvents() {
  std::vector<Event> events;
  const std::lock_guard<std::mutex> lock(eventsMutex_);
  events.swap(events_);
  eventsQueued_ = 0;
  return events;
}

ConnectionId Engine::onConnectionBegun() {
  ++active_;
  return ++lastConnection_;
}

void Engine::onConnectionsGone(size_t count, size_t aborted) {
  aborted_ += aborted;
  active_ -= count;
  tellWhenDrained();
}

Worker& Engine::keeperFor(Worker& worker) {
  const auto& least = *std::min_element(workers_.begin(), workers_.end(),
                                        [](const auto& a, const auto& b) { return a->load() < b->load(); });
  return least->load() + kImbalance <= worker.load() ? *least : worker;
}

void Engine::openGates(ListenerId listener, uint64_t gates) {
  for (unsigned i = 0; i < workers_.size(); ++i) {
    if ((gates & (uint64_t{1} << i)) != 0) workers_[i]->openGate(listener);
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
