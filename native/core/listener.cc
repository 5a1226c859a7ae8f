#include "listener.h"

#include <algorithm>
#include <cerrno>

namespace vsock_proxy {
namespace {

// The pause after accept(2) failed for lack of a resource, or while the control plane is behind.
constexpr Micros kRetryAccept = 100 * 1000;
constexpr Micros kReportEvery = 1000 * 1000;

// Errors of accept(2) after which it can be called again at once. EAGAIN: another thread was faster. The
// others concern one connection, which has left the queue: accept(2), "Error handling".
bool concernsOneClient(int error) {
  switch (error) {
    case EAGAIN:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

constexpr Micros kSecond = 1000 * 1000;
// The number of clients after which quiet ones are forgotten.
constexpr size_t kManyClients = 1024;

}  // namespace

bool Admission::admits(const Address& client) const {
  if (cids &&
      (client.family() != AF_VSOCK || std::find(cids->begin(), cids->end(), client.cid()) == cids->end())) {
    return false;
  }
  return !sources || std::any_of(sources->begin(), sources->end(), [&](const Prefix& prefix) {
    return client.startsWith(prefix.network, prefix.bits);
  });
}

ListenerState::ListenerState(ListenerId id, const ListenSpec& spec, const ListenerState* predecessor,
                             ClientTotals& clients)
    : id(id),
      spec(spec),
      occupancy_(predecessor != nullptr ? predecessor->occupancy_ : std::make_shared<Occupancy>(id)),
      clients_(clients) {
  occupancy_->listener = id;
}

Upstream ListenerState::upstream() const {
  const std::lock_guard<std::mutex> lock(upstreamMutex_);
  return upstream_;
}

void ListenerState::setUpstream(Upstream upstream) {
  const std::lock_guard<std::mutex> lock(upstreamMutex_);
  upstream_ = std::move(upstream);
}

bool ListenerState::sharesSocketWith(const ListenerState& other) const {
  return occupancy_ == other.occupancy_;
}

bool ListenerState::takeBackFrom(const ListenerState& closed) {
  if (occupancy_ != closed.occupancy_ || occupancy_->listener != closed.id) return false;
  occupancy_->listener = id;
  return true;
}

bool ListenerState::enter() {
  std::atomic<uint64_t>& taken = occupancy_->places;
  uint64_t places = taken.load();
  do {
    if (usedIn(places) >= spec.limits.connections) return false;
  } while (!taken.compare_exchange_weak(places, places + kTaken));
  return true;
}

Micros ListenerState::entered(Micros now) {
  occupancy_->places.fetch_add(kAccepted - kTaken);
  ++active_;
  accepted_.fetch_add(1, std::memory_order_relaxed);
  const Micros since = waitingSince_.load(std::memory_order_relaxed) == 0 ? 0 : waitingSince_.exchange(0);
  if (since == 0) return 0;
  const Micros waited = std::max<Micros>(0, now - since);  // each thread reads the clock once a round
  limitWaitMicros_.fetch_add(static_cast<uint64_t>(waited), std::memory_order_relaxed);
  queued_.observe(waited);
  return waited;
}

ClosedGates ListenerState::openableGates() {
  std::atomic<uint64_t>& closed = occupancy_->closedGates;
  const uint64_t bits = closed.load() == 0 ? 0 : closed.exchange(0);
  return {occupancy_->listener, bits};
}

ClosedGates ListenerState::giveBack() {
  occupancy_->places.fetch_sub(kTaken);
  return openableGates();
}

std::optional<Refusal> ListenerState::admit(const Address& client, Micros now) {
  const std::optional<Refusal> refusal = findRefusal(client, now);
  if (refusal) {
    clients_.refused(client, now);
  } else {
    clients_.accepted(client, now);
  }
  return refusal;
}

std::optional<Refusal> ListenerState::findRefusal(const Address& client, Micros now) {
  if (!spec.admission.admits(client)) return Refusal::NotAdmitted;
  if (!limitsClients()) return std::nullopt;
  const std::lock_guard<std::mutex> lock(occupancy_->clientsMutex);
  auto& clients = occupancy_->clients;
  if (clients.size() >= kManyClients) forgetQuietClients(now);
  const auto [place, isNew] = clients.try_emplace(client.clientKey());
  Occupancy::Client& known = place->second;
  const auto rate = static_cast<double>(spec.limits.ratePerClient);
  const double earned = rate * static_cast<double>(now - known.at) / kSecond;
  known.tokens = isNew ? rate : std::min(rate, known.tokens + std::max(0.0, earned));
  known.at = now;
  if (spec.limits.connectionsPerClient != 0 && known.active >= spec.limits.connectionsPerClient) {
    return Refusal::ClientLimit;
  }
  if (spec.limits.ratePerClient != 0) {
    if (known.tokens < 1) return Refusal::ClientRate;
    known.tokens -= 1;
  }
  ++known.active;
  return std::nullopt;
}

// This is called only while there are many clients, because of its cost.
void ListenerState::forgetQuietClients(Micros now) {
  auto& clients = occupancy_->clients;
  for (auto client = clients.begin(); client != clients.end();) {
    const bool quiet = client->second.active == 0 && now - client->second.at >= kSecond;
    client = quiet ? clients.erase(client) : std::next(client);
  }
}

ClosedGates ListenerState::leave(const CloseRecord& record) {
  if (!refusedAtAccept(record.reason) && limitsClients()) {
    const std::lock_guard<std::mutex> lock(occupancy_->clientsMutex);
    auto& clients = occupancy_->clients;
    const auto client = clients.find(record.client.clientKey());
    --client->second.active;
    if (client->second.active == 0 && spec.limits.ratePerClient == 0) clients.erase(client);
  }
  if (!refusedAtAccept(record.reason)) {
    clients_.left(record.client, record.bytesUp, record.bytesDown);
    duration_.observe(record.totalMicros);
    const bool connected = record.phase == Phase::Relaying || record.connectMicros != record.totalMicros;
    if (connected) connect_.observe(record.connectMicros);
  }
  bytesUp_.fetch_add(record.bytesUp, std::memory_order_relaxed);
  bytesDown_.fetch_add(record.bytesDown, std::memory_order_relaxed);
  closed_[static_cast<size_t>(record.reason)].fetch_add(1, std::memory_order_relaxed);
  --active_;
  occupancy_->places.fetch_sub(kAccepted);
  return openableGates();
}

bool ListenerState::closeGate(uint64_t bit) {
  std::atomic<uint64_t>& closed = occupancy_->closedGates;
  closed.fetch_or(bit);
  // A place that became free before the bit was set would not open the gate. The thread that resets the bit
  // opens the gate: this thread, or the thread that freed a place.
  if (usedIn(occupancy_->places) < spec.limits.connections) return (closed.fetch_and(~bit) & bit) == 0;
  return true;
}

bool ListenerState::noteWaiting(Micros now) {
  Micros none = 0;
  if (!waitingSince_.compare_exchange_strong(none, now)) return false;
  limitHits_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool ListenerState::mayReport(FaultKind kind, Micros now) {
  std::atomic<Micros>& reportedAt = reportedAt_[static_cast<size_t>(kind)];
  Micros last = reportedAt.load();
  return (last == 0 || now - last >= kReportEvery) && reportedAt.compare_exchange_strong(last, now);
}

ListenerCounters ListenerState::counters() const {
  ListenerCounters all;
  all.listener = id;
  all.accepted = accepted_.load();
  all.active = active_.load();
  all.bytesUp = bytesUp_.load();
  all.bytesDown = bytesDown_.load();
  for (size_t i = 0; i < countOf<CloseReason>(); ++i) all.closed[i] = closed_[i].load();
  all.limitHits = limitHits_.load();
  all.limitWaitMicros = limitWaitMicros_.load();
  all.waitingSince = waitingSince_.load();
  all.connect = connect_.read();
  all.duration = duration_.read();
  all.queued = queued_.read();
  all.decisionsCached = decisionsCached_.load();
  all.decisionsRequested = decisionsRequested_.load();
  all.exchangesCached = exchangesCached_.load();
  for (size_t i = 0; i < kStatusClasses; ++i) all.answers[i] = answers_[i].load();
  return all;
}

Gate::Gate(Loop& loop, GateObserver& observer, std::shared_ptr<ListenSocket> socket,
           std::shared_ptr<ListenerState> state, uint64_t bit)
    : loop_(loop),
      observer_(observer),
      socket_(std::move(socket)),
      state_(std::move(state)),
      bit_(bit),
      retry_([this] { open(); }) {}

void Gate::open() {
  if (open_ || !socket_) return;
  loop_.disarm(retry_);
  // EPOLLEXCLUSIVE, because one waiting client need not wake every thread.
  if (loop_.watch(socket_->fd(), EPOLLIN | EPOLLEXCLUSIVE, *this) != 0) return pause();
  open_ = true;
}

void Gate::close() {
  if (open_) loop_.unwatch(socket_->fd());
  open_ = false;
}

// At most as many as the kernel may have queued, because new clients may keep coming.
void Gate::acceptQueued() {
  for (int clients = 0; socket_ && clients < SOMAXCONN; ++clients) {
    if (!acceptOne()) return;
  }
}

// A descriptor that is added is reported if it is ready already.
void Gate::look() {
  if (!open_) return;
  close();
  open();
}

void Gate::shut() {
  close();
  loop_.disarm(retry_);
  state_->endWaiting();  // every gate that could note it later is shut later
  socket_.reset();
}

// Closes the gate until a timer opens it.
void Gate::pause() {
  close();
  loop_.arm(retry_, loop_.now() + kRetryAccept);
}

// Accepts one client a round, so that free threads can accept the others.
void Gate::onReady(uint32_t) {
  if (open_) acceptOne();
}

bool Gate::acceptOne() {
  if (observer_.congested()) {
    pause();
    return false;
  }
  // A client stays in the queue if there is no descriptor for its server.
  const int shortage = loop_.reserve().hold();
  if (shortage != 0) {
    starve(shortage);
    return false;
  }
  if (!state_->enter()) {
    // This thread may have been woken for a client that another thread is accepting. Such a client does not
    // wait. (The event repeats as long as there is a client.)
    if (!state_->full() || !hasWaiting(socket_->fd())) return false;
    if (state_->noteWaiting(loop_.now()) && state_->mayReport(FaultKind::Limit, loop_.now())) {
      observer_.onFault({FaultKind::Limit, state_->id, 0, {}});
    }
    close();
    if (!state_->closeGate(bit_)) open();
    return false;
  }
  Address peer;
  Opened opened = acceptFrom(socket_->fd(), peer);
  if (opened.fd) {
    const Micros queued = state_->entered(loop_.now());
    const std::optional<Refusal> refusal = state_->admit(peer, loop_.now());
    if (refusal) {
      refuse(std::move(opened.fd), peer, *refusal);
    } else {
      observer_.onAccepted(*this, std::move(opened.fd), peer, queued);
    }
    return true;
  }
  observer_.onPlaceFreed(state_->giveBack());
  if (opened.error == EAGAIN) return false;
  if (concernsOneClient(opened.error)) return true;
  starve(opened.error);
  return false;
}

// Pauses for lack of a resource that every client would need.
void Gate::starve(int error) {
  if (state_->mayReport(FaultKind::Accept, loop_.now())) {
    observer_.onFault({FaultKind::Accept, state_->id, error, {}});
  }
  pause();
}

// The socket is closed last, so that the refusal is counted before the client sees it.
void Gate::refuse(UniqueFd client, const Address& peer, Refusal refusal) {
  resetOnClose(client.get());
  const auto kind = as<FaultKind>(refusal);
  if (state_->mayReport(kind, loop_.now())) observer_.onFault({kind, state_->id, 0, peer});
  CloseRecord record;
  record.client = peer;
  record.reason = as<CloseReason>(refusal);
  observer_.onPlaceFreed(state_->leave(record));
}

}  // namespace vsock_proxy
