#include "worker.h"

#include <malloc.h>

namespace vsock_proxy {
namespace {

// After this many connections have come and gone, their memory is returned to the system.
constexpr size_t kManyConnections = 512;
constexpr Micros kCalm = 500 * 1000;

}  // namespace

Worker::Worker(unsigned index, unsigned workers, ScratchSize scratch, WorkerObserver& observer)
    : index_(index), workers_(workers), observer_(observer), loop_(scratch) {}

Worker::~Worker() {
  stop();
  loop_.disarm(drainDeadline_);
  loop_.disarm(calm_);
}

int Worker::start() {
  const int error = loop_.open();
  if (error != 0) return error;
  loop_.onRoundEnd = [this] {
    if (!events_.empty()) observer_.onEvents(events_);
    events_.clear();
    if (gone_ != 0) observer_.onConnectionsGone(gone_, aborted_);
    gone_ = aborted_ = 0;
  };
  return thread_.start("relay-" + std::to_string(index_), [this] { loop_.run(); });
}

void Worker::stop() {
  loop_.stop();
  thread_.join();
}

void Worker::addListener(std::shared_ptr<ListenSocket> socket, std::shared_ptr<ListenerState> state) {
  loop_.post([this, socket = std::move(socket), state = std::move(state)] {
    auto& gate = gates_[state->id];
    gate = std::make_unique<Gate>(loop_, *this, socket, state, uint64_t{1} << index_);
    gate->open();
  });
}

Gate* Worker::gateOf(ListenerId listener) {
  const auto gate = gates_.find(listener);
  return gate == gates_.end() ? nullptr : gate->second.get();
}

void Worker::dialWaiting(ListenerId listener, Upstream upstream) {
  loop_.post([this, listener, upstream = std::move(upstream)] {
    std::vector<Connection*> waiting;
    for (const Live& live : live_) {
      if (live.listener->id == listener && live.connection->waiting())
        waiting.push_back(live.connection.get());
    }
    for (Connection* connection : waiting) connection->dial(upstream);
  });
}

void Worker::removeListener(ListenerId listener, bool acceptQueued) {
  loop_.post([this, listener, acceptQueued] {
    const auto gate = gates_.find(listener);
    if (gate == gates_.end()) return;
    if (acceptQueued) gate->second->acceptQueued();
    gate->second->shut();
    const std::shared_ptr<ListenerState> state = gate->second->state();
    loop_.retire(std::move(gate->second));
    gates_.erase(gate);
    for (const auto& [id, other] : gates_) {
      if (other->state()->sharesSocketWith(*state)) other->look();
    }
  });
}

void Worker::openGate(ListenerId listener) {
  loop_.post([this, listener] {
    if (Gate* gate = gateOf(listener)) gate->open();
  });
}

void Worker::take(Accepted accepted) {
  // std::function requires copyable captures, and a descriptor is not copyable.
  auto shared = std::make_shared<Accepted>(std::move(accepted));
  loop_.post([this, shared] { keep(std::move(*shared)); });
}

void Worker::decide(std::vector<ConnectionDecision> decisions) {
  auto shared = std::make_shared<std::vector<ConnectionDecision>>(std::move(decisions));
  loop_.post([this, shared] {
    for (ConnectionDecision& one : *shared) {
      const auto waiting = undecided_.find(one.connection);
      if (waiting == undecided_.end()) continue;
      Connection& connection = *waiting->second;
      undecided_.erase(waiting);
      if (Gate* gate = gateOf(connection.record().listener)) {
        gate->cache.add(connection.record().client, connection.head(), one.decision, loop_.now());
      } else {
        // A connection made under the rules of a closed listener serves no further request.
        one.decision.persistent = false;
      }
      connection.decide(std::move(one.decision));
    }
  });
}

void Worker::beat(uint64_t number) {
  loop_.post([this, number] { beats_ = number; });
}

void Worker::list(uint64_t number) {
  loop_.post([this, number] {
    Listing listing;
    listing.number = number;
    for (const Live& live : live_) listing.connections.push_back(live.connection->describe());
    report(std::move(listing));
  });
}

void Worker::drain(Micros deadline) {
  loop_.post([this, deadline] {
    drainBy_ = deadline;
    loop_.arm(drainDeadline_, drainBy_);
    std::vector<Connection*> all;
    for (const Live& live : live_) all.push_back(live.connection.get());
    for (Connection* connection : all) connection->endIfIdle();
    observer_.onDraining();
  });
}

void Worker::keep(Accepted accepted) {
  const CloseRecord& record = accepted.record;
  if (accepted.listener->spec.report == ReportKind::Lifecycle) {
    report(Progress{Step::Accepted, record.listener, record.connection, record.client, {}, kNoTarget});
  }
  // Another thread may have accepted the client before it received the drain.
  if (drainBy_ != 0) loop_.arm(drainDeadline_, drainBy_);
  Live live;
  live.connection = std::make_unique<Connection>(
      loop_, *this, std::move(accepted.client), std::move(accepted.record), accepted.listener->spec.timeouts);
  live.listener = std::move(accepted.listener);
  live.connection->place = live_.size();
  Connection& connection = *live.connection;
  live_.push_back(std::move(live));
  mostLive_ = std::max(mostLive_, live_.size());
  const ListenSpec& spec = live_.back().listener->spec;
  connection.start(spec.kind, live_.back().listener->upstream(), spec.limits.vsockBufferBytes);
}

void Worker::abortAll() {
  while (!live_.empty()) live_.back().connection->abort(CloseReason::Drained);
}

void Worker::returnMemory() {
  live_.shrink_to_fit();
  malloc_trim(0);
}

void Worker::onAccepted(Gate& gate, UniqueFd client, const Address& peer, Micros queued) {
  Accepted accepted;
  accepted.client = std::move(client);
  accepted.listener = gate.state();
  accepted.record.listener = gate.state()->id;
  accepted.record.client = peer;
  accepted.record.queuedMicros = queued;
  observer_.onConnectionBegun();
  Worker& owner = observer_.ownerFor(*this);
  accepted.record.connection = owner.newId();
  owner.load_.fetch_add(1, std::memory_order_relaxed);
  if (&owner == this) return keep(std::move(accepted));
  owner.take(std::move(accepted));
}

// A closed listener has no gate, and no cache.
void Worker::onDecisionRequest(Connection& connection) {
  ListenerState& listener = *live_[connection.place].listener;
  const std::string_view head = connection.head();
  const Gate* gate = head.empty() ? nullptr : gateOf(listener.id);
  if (gate != nullptr) {
    if (auto known = gate->cache.find(connection.record().client, head, loop_.now())) {
      listener.countCachedDecision(known->action);
      return connection.decide(std::move(*known));
    }
  }
  listener.countRequestedDecision();
  undecided_.emplace(connection.record().connection, &connection);
  report(connection.request());
}

void Worker::onAnswered(Connection& connection, unsigned status) {
  live_[connection.place].listener->countAnswer(status);
}

void Worker::onConnected(Connection& connection) {
  if (live_[connection.place].listener->spec.report != ReportKind::Lifecycle) return;
  const CloseRecord& record = connection.record();
  report(Progress{Step::Connected, record.listener, record.connection, record.client, record.server,
                  record.target});
}

void Worker::onClosed(Connection& connection) {
  const size_t place = connection.place;
  Live gone = std::move(live_[place]);
  if (place + 1 != live_.size()) {
    live_[place] = std::move(live_.back());
    live_[place].connection->place = place;
  }
  live_.pop_back();
  load_.fetch_sub(1, std::memory_order_relaxed);

  const CloseRecord& record = connection.record();
  if (connection.awaitsDecision()) undecided_.erase(record.connection);
  const ClosedGates closedGates = gone.listener->leave(record);
  if (gone.listener->spec.report == ReportKind::Lifecycle || record.reason != CloseReason::Finished)
    report(record);
  onPlaceFreed(closedGates);
  ++gone_;
  if (record.reason == CloseReason::Drained) ++aborted_;
  loop_.retire(std::move(gone.connection));
  if (live_.empty() && mostLive_ >= kManyConnections) {
    mostLive_ = 0;
    loop_.arm(calm_, loop_.now() + kCalm);
  }
}

void Worker::onPlaceFreed(const ClosedGates& gates) {
  if (gates.bits != 0) observer_.openGates(gates);
}

}  // namespace vsock_proxy
