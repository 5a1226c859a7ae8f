#include "connection.h"

#include <algorithm>
#include <cerrno>

namespace vsock_proxy {
namespace {

// How long an address is tried alone before the next one starts beside it (RFC 8305, section 5).
constexpr Micros kHeadStart = 250 * 1000;

// The pause between two rounds through the addresses. It doubles each time: a server that restarts is soon
// back, and one that is gone should not get many attempts.
constexpr Micros kFirstPause = 10 * 1000;
constexpr Micros kLongestPause = 500 * 1000;

// Whether a vsock or unix server is absent: it is most likely restarting. A refusal over TCP is final,
// because the client knows best how to react.
bool mayComeBack(const Address& address, int error) {
  switch (address.family()) {
    case AF_VSOCK:
      // ECONNRESET: there is no listener, or the queue is full. ETIMEDOUT: no machine has this CID. ENODEV:
      // the hypervisor does not know it either, or the device is not there yet.
      return error == ECONNRESET || error == ECONNREFUSED || error == ETIMEDOUT || error == ENODEV;
    case AF_UNIX:
      // EAGAIN: the queue is full. ENOENT: the file is missing.
      return error == ECONNREFUSED || error == EAGAIN || error == ENOENT;
    default:
      return false;
  }
}

// This machine lacks a resource, perhaps only for a moment; the address is not the cause.
bool isShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// The errno of a write to the peer. With unix and vsock sockets, EPIPE shows that the peer has closed both
// halves; TCP does not know that.
int refusalOf(int fd) {
  const int error = send(fd, nullptr, 0).error;
  return error == EAGAIN ? 0 : error;
}

}  // namespace

Connection::Connection(Loop& loop, ConnectionObserver& observer, UniqueFd client, CloseRecord record,
                       const ConnectionTimeouts& timeouts)
    : observer_(observer),
      record_(std::move(record)),
      acceptedAt_(loop.now()),
      link_(loop, *this, std::move(client), timeouts) {}

void Connection::start(ListenerKind kind, const Upstream& upstream, uint32_t vsockBufferBytes) {
  vsockBufferBytes_ = vsockBufferBytes;
  const auto startExchange = [this](RequestKind first) {
    state_ = State::InExchange;
    exchange_ = std::make_unique<Exchange>(link_, record_);
    follow(exchange_->start(first));
  };
  switch (kind) {
    case ListenerKind::DecideClient:
      return startExchange(RequestKind::Client);
    case ListenerKind::DecideHead:
      return startExchange(RequestKind::Head);
    case ListenerKind::Fixed:
      link_.loop.arm(link_.deadline, acceptedAt_ + link_.timeouts.connect);
      if (upstream) dial(upstream);
  }
}

void Connection::decide(Decision decision) {
  if (awaitsDecision()) follow(exchange_->decide(std::move(decision)));
}

// Carries out a step of the exchange.
void Connection::follow(Exchange::Next next) {
  if (next.answered != 0) observer_.onAnswered(*this, next.answered);
  switch (next.step) {
    case Exchange::Next::Step::Wait:
      return;
    case Exchange::Next::Step::Request:
      return observer_.onDecisionRequest(*this);
    case Exchange::Next::Step::Dial:
      return dial(next.addresses);
    case Exchange::Next::Step::Reuse:
      observer_.onConnected(*this);
      return follow(exchange_->onConnected());
    case Exchange::Next::Step::Relay:
      return relay();
    case Exchange::Next::Step::Responded:
      return follow(exchange_->afterResponse(observer_.draining()));
    case Exchange::Next::Step::Close:
      return close(next.ending, next.reset);
  }
}

void Connection::dial(const Upstream& upstream) {
  state_ = State::Connecting;
  record_.phase = Phase::Connecting;
  dial_ = std::make_unique<Dial>(upstream, [this] { startAttempts(); });
  startAttempts();
}

// Starts attempts until one is running, then gives it its head start. If all have failed, the connection
// ends, or all are tried again.
void Connection::startAttempts() {
  Dial& dial = *dial_;
  const size_t before = dial.attempts.size();
  while (dial.next < dial.addresses->size()) {
    startAttempt((*dial.addresses)[dial.next++]);
    if (state_ != State::Connecting) return;
    if (dial.attempts.size() > before) {
      if (dial.next < dial.addresses->size()) link_.loop.arm(dial.nextStart, link_.loop.now() + kHeadStart);
      return;
    }
  }
  if (!dial.attempts.empty()) return;
  if (dial.addresses->empty()) return failDial({CloseReason::NoUpstream});
  const int error = dial.lastError;
  if (mayComeBack(record_.server, error) || isShortage(error)) return tryAgain();
  failDial(failureOf(error));
}

void Connection::startAttempt(const Address& address) {
  record_.server = address;
  Opened opened = startConnect(address, vsockBufferBytes_);
  if ((opened.error == EMFILE || opened.error == ENFILE) && link_.loop.reserve().giveUp()) {
    opened = startConnect(address, vsockBufferBytes_);
  }
  if (opened.error == 0) return onConnected(std::move(opened.fd), address, false);
  if (opened.error == EINPROGRESS) {
    auto attempt = std::make_unique<Attempt>(*this, std::move(opened.fd), address);
    opened.error = link_.loop.watch(attempt->fd.get(), EPOLLOUT, *attempt);
    if (opened.error == 0) {
      dial_->attempts.push_back(std::move(attempt));
      return;
    }
  }
  dial_->lastError = opened.error;
}

void Connection::onAttemptReady(Attempt& attempt) {
  if (state_ != State::Connecting) return;
  const int error = connectOutcome(attempt.fd.get());
  if (error == 0) return onConnected(std::move(attempt.fd), attempt.address, true);
  record_.server = attempt.address;
  dial_->lastError = error;
  auto& attempts = dial_->attempts;
  const auto failed =
      std::find_if(attempts.begin(), attempts.end(),
                   [&](const std::unique_ptr<Attempt>& one) { return one.get() == &attempt; });
  link_.loop.close(attempt.fd);
  link_.loop.retire(std::move(*failed));
  attempts.erase(failed);
  link_.loop.disarm(dial_->nextStart);
  startAttempts();
}

// For the last address that failed.
Ending Connection::failureOf(int error) {
  if (isShortage(error)) return {CloseReason::Internal, Party::Proxy, error};
  return {CloseReason::ConnectFailed, Party::Server, error};
}

void Connection::tryAgain() {
  Dial& dial = *dial_;
  dial.next = 0;
  dial.pause = dial.pause == 0 ? kFirstPause : std::min(2 * dial.pause, kLongestPause);
  link_.loop.arm(dial.nextStart, link_.loop.now() + dial.pause);
}

// Drops the attempts that are still running.
void Connection::endDial() {
  if (!dial_) return;
  link_.loop.disarm(dial_->nextStart);
  for (auto& attempt : dial_->attempts) {
    if (attempt->fd) link_.loop.close(attempt->fd);
    link_.loop.retire(std::move(attempt));
  }
  link_.loop.retire(std::move(dial_));  // its timer may be the caller
}

// No address answered.
void Connection::failDial(const Ending& ending) {
  if (!exchange_ || !exchange_->explainsFailure()) return close(ending, true);
  endDial();
  state_ = State::InExchange;
  follow(exchange_->onDialFailed(ending));
}

// `watched`: whether `server` is already in epoll, as an attempt.
void Connection::onConnected(UniqueFd server, const Address& address, bool watched) {
  link_.server.fd = std::move(server);
  link_.server.watched = watched;
  record_.server = address;
  record_.connectMicros = link_.loop.now() - acceptedAt_;
  record_.phase = Phase::Relaying;
  endDial();
  link_.activeAt = link_.loop.now();
  observer_.onConnected(*this);
  if (!exchange_ || !exchange_->awaitsResponse()) return relay();
  state_ = State::InExchange;
  follow(exchange_->onConnected());
}

void Connection::relay() {
  exchange_.reset();
  state_ = State::Relaying;
  link_.up.between(record_.client.family(), record_.server.family());
  link_.down.between(record_.server.family(), record_.client.family());
  link_.armQuietDeadline();
  if (link_.up.wantsSink() || link_.down.wantsSink()) {
    // The client waits for the answer to what it has said. epoll reports what it says next.
    if (link_.up.wantsSink()) link_.up.deliver(link_.server.fd.get());
    if (link_.down.wantsSink()) link_.down.deliver(link_.client.fd.get());
  } else {
    // Bytes that the client has sent meanwhile are passed on before epoll watches either side.
    const int error = turn(link_.up, link_.client, link_.server);
    if (error != 0) return settle(&link_.client, error);
  }
  settle(nullptr, 0);
}

void Connection::onSideReady(Side& side, uint32_t events) {
  switch (state_) {
    case State::Relaying:
      return onRelayReady(side, events);
    case State::InExchange:
      return follow(exchange_->onReady(side, events));
    case State::Waiting:
    case State::Connecting:
    case State::Closed:
      return;
  }
}

void Connection::onRelayReady(Side& side, uint32_t events) {
  const bool isClient = &side == &link_.client;
  Side& other = isClient ? link_.server : link_.client;
  Pump& from = isClient ? link_.up : link_.down;
  Pump& to = isClient ? link_.down : link_.up;
  const bool failed = (events & EPOLLERR) != 0;
  const bool ended = failed || (events & EPOLLHUP) != 0;
  side.hungUp |= ended && !failed;

  // A reset or hang-up lets reads and writes through, which then find it, so earlier bytes still arrive. It
  // is handled here only if neither is due.
  const bool read = from.wantsSource() && (ended || (events & EPOLLIN) != 0);
  const bool write = to.wantsSink() && (ended || (events & EPOLLOUT) != 0);
  if (read) {
    const int error = turn(from, side, other);
    if (error != 0) return settle(&side, error);
  }
  if (write) {
    const int error = turn(to, other, side);
    if (error != 0) return settle(&other, error);
  }
  if (ended && !read && !write) {
    const int error = connectOutcome(side.fd.get());
    if (error != 0) return settle(&side, error);
    side.hungUp = true;
    if (to.state() == Pump::State::Flowing) to.failSink(EPIPE);
  }
  settle(nullptr, 0);
}

int Connection::turn(Pump& pump, Side& source, Side& sink) {
  const int error = link_.move(pump, source, sink);
  return error == 0 && pump.state() == Pump::State::SourceDone ? onSourceDone(pump, source, sink) : error;
}

// Passes an EOF on, or returns the errno that shows that it is not an EOF.
int Connection::onSourceDone(Pump& pump, Side& source, Side& sink) {
  if (firstEof_ == Party::Proxy) firstEof_ = link_.partyOf(source);
  Pump& reverse = &pump == &link_.up ? link_.down : link_.up;
  const Address& address = &source == &link_.client ? record_.client : record_.server;
  const int error = Link::resetBehindEof(source, reverse, address.family());
  if (error != 0) return error;
  // An EOF may be the end of one half or of both. If both have ended, no peer waits.
  if (reverse.state() == Pump::State::Flowing) {
    const int refusal = refusalOf(source.fd.get());
    if (refusal == EPIPE) {
      reverse.failSink(EPIPE);
    } else if (refusal != 0) {
      return refusal;
    }
  }
  // Where the other direction is done too, the sockets are closed, which says as much.
  if (reverse.state() == Pump::State::Flowing) shutdownWrite(sink.fd.get());
  return 0;
}

// Adapts deadlines, the interest of epoll and the state to the pumps.
void Connection::settle(const Side* failedSide, int error) {
  if (failedSide != nullptr) return close({CloseReason::Reset, link_.partyOf(*failedSide), error}, true);
  for (const Pump* pump : {&link_.up, &link_.down}) {
    const int failure = pump->sinkError();
    if (isShortage(failure)) return close({CloseReason::Internal, Party::Proxy, failure}, true);
  }
  const bool upDone = link_.up.state() != Pump::State::Flowing;
  const bool downDone = link_.down.state() != Pump::State::Flowing;
  if (upDone && downDone) {
    for (const Pump* pump : {&link_.up, &link_.down}) {
      if (!pump->lostBytes()) continue;
      const Party sink = pump == &link_.up ? Party::Server : Party::Client;
      return close({CloseReason::Reset, sink, pump->sinkError()}, pump->sinkError() != EPIPE);
    }
    return close({CloseReason::Finished, firstEof_}, false);
  }
  updateInterest(link_.client, link_.up, link_.down);
  if (state_ == State::Relaying) updateInterest(link_.server, link_.down, link_.up);
}

// `from` reads from the side, `to` writes to it. A side that has sent its EOF is still watched for a reset.
// A side that must not be read now is not watched, because the bytes before a reset come first.
void Connection::updateInterest(Side& side, const Pump& from, const Pump& to) {
  const uint32_t interest =
      (from.wantsSource() ? uint32_t{EPOLLIN} : 0) | (to.wantsSink() ? uint32_t{EPOLLOUT} : 0);
  const bool watched = interest != 0 || (from.state() == Pump::State::SourceDone && !side.hungUp);
  const int error = link_.watch(side, watched, interest);
  if (error != 0) close({CloseReason::Internal, Party::Proxy, error}, true);
}

void Connection::onDeadline() {
  switch (state_) {
    case State::Waiting:
      return close({CloseReason::NoUpstream, Party::Proxy, ETIMEDOUT}, true);
    case State::Connecting:
      // Between two rounds, the error of the last address says more.
      if (dial_->attempts.empty()) return failDial(failureOf(dial_->lastError));
      return failDial({CloseReason::ConnectTimeout, Party::Proxy, ETIMEDOUT});
    case State::Relaying:
      return onRelayDeadline();
    case State::InExchange:
      return follow(exchange_->onDeadline());
    case State::Closed:
      return;
  }
}

void Connection::onRelayDeadline() {
  if (link_.isIdleTooLong()) return close({CloseReason::IdleTimeout, Party::Proxy, ETIMEDOUT}, true);
  link_.keepAliveIfQuiet();
  // A peer that no longer reads causes no event while it is not read from, or while its buffer is full. An
  // example is a vsock peer that has closed one half and now closes the other, or both at once with bytes
  // under way.
  if (link_.up.state() == Pump::State::Flowing && refusalOf(link_.server.fd.get()) == EPIPE)
    link_.up.failSink(EPIPE);
  if (link_.down.state() == Pump::State::Flowing && refusalOf(link_.client.fd.get()) == EPIPE)
    link_.down.failSink(EPIPE);
  settle(nullptr, 0);
  if (state_ == State::Relaying) link_.armQuietDeadline();
}

void Connection::endIfIdle() {
  if (state_ != State::InExchange || !exchange_->isBetweenRequests()) return;
  close({CloseReason::Finished, Party::Proxy}, false);
}

void Connection::abort(CloseReason reason) { close({reason}, true); }

LiveConnection Connection::describe() const {
  const Micros now = link_.loop.now();
  return {record_.listener,
          record_.connection,
          record_.client,
          record_.server,
          record_.target,
          record_.phase,
          record_.bytesUp + link_.up.bytes(),
          record_.bytesDown + link_.down.bytes(),
          now - acceptedAt_,
          now - std::max(acceptedAt_, link_.activeAt)};
}

void Connection::close(const Ending& ending, bool reset) {
  if (state_ == State::Closed) return;
  state_ = State::Closed;
  link_.loop.disarm(link_.deadline);
  endDial();
  if (reset) {
    resetOnClose(link_.client.fd.get());
    if (link_.server.fd) resetOnClose(link_.server.fd.get());
  } else {
    link_.discardUnread(link_.client, link_.up);
    if (link_.server.fd) link_.discardUnread(link_.server, link_.down);
  }

  record_.bytesUp += link_.up.bytes();
  record_.bytesDown += link_.down.bytes();
  record_.totalMicros = link_.loop.now() - acceptedAt_;
  if (record_.phase != Phase::Relaying && record_.connectMicros == 0)
    record_.connectMicros = record_.totalMicros;
  record_.reason = ending.reason;
  record_.endedBy = ending.endedBy;
  record_.error = ending.error;
  observer_.onClosed(*this);
  // Last, so that a client that sees the end, and comes again, finds its place free.
  link_.close(link_.client);
  link_.close(link_.server);
}

}  // namespace vsock_proxy
