#include "connection.h"

#include <algorithm>
#include <cerrno>

namespace vsock_proxy {
namespace {

// How long an address is tried alone before the next one is tried beside it (RFC 8305, section 5).
constexpr Micros kHeadStart = 250 * 1000;

// Between two rounds through the addresses: doubled each time, for a server that restarts is soon there
// again, and one that is gone is not to be besieged.
constexpr Micros kFirstPause = 10 * 1000;
constexpr Micros kLongestPause = 500 * 1000;

// A server on this machine or its parent, or in one of its enclaves, that is not there: it is most
// likely restarting. Over TCP a refusal is an answer, and who asked knows better what to do.
bool mayComeBack(const Address& address, int error) {
  switch (address.family()) {
    case AF_VSOCK:
      // ECONNRESET: nobody listens, or the queue is full. ETIMEDOUT: nobody has this CID. ENODEV: neither
      // does the host know it, or the device is not there yet.
      return error == ECONNRESET || error == ECONNREFUSED || error == ETIMEDOUT || error == ENODEV;
    case AF_UNIX:
      // EAGAIN: the queue is full. ENOENT: the file is not there.
      return error == ECONNREFUSED || error == EAGAIN || error == ENOENT;
    default:
      return false;
  }
}

// The machine ran out of something, and may have it again soon; the address is not to blame.
bool isShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// Reads that make way for a close(2) in order.
constexpr int kMostDiscards = 16;

// What a write to the peer would fail with. Unix and vsock sockets tell by EPIPE that the peer has
// closed both its halves; TCP cannot know.
int refusalOf(int fd) {
  const int error = send(fd, nullptr, 0).error;
  return error == EAGAIN ? 0 : error;
}

}  // namespace

Connection::Connection(Loop& loop, ConnectionObserver& observer, UniqueFd client, CloseRecord record,
                       ConnectionTimeouts timeouts)
    : loop_(loop),
      observer_(observer),
      timeouts_(timeouts),
      record_(std::move(record)),
      acceptedAt_(loop.now()),
      activeAt_(acceptedAt_),
      deadline_([this] { onDeadline(); }) {
  client_.fd = std::move(client);
}

Connection::~Connection() {
  loop_.disarm(deadline_);
  endDial();
}

void Connection::start(ListenerKind kind, const Upstream& upstream) {
  switch (kind) {
    case ListenerKind::DecideClient:
      return startDialogue(DecisionRequest::Kind::Client);
    case ListenerKind::DecideHead:
      return startDialogue(DecisionRequest::Kind::Head);
    case ListenerKind::Fixed:
      loop_.arm(deadline_, acceptedAt_ + timeouts_.connect);
      if (upstream) dial(upstream);
  }
}

void Connection::dial(const Upstream& upstream) {
  state_ = State::Connecting;
  record_.phase = Phase::Connecting;
  dial_ = std::make_unique<Dial>(upstream, [this] { startAttempts(); });
  startAttempts();
}

// Starts attempts until one is under way, then gives it its head start. When all have failed, that was it,
// or they are tried again.
void Connection::startAttempts() {
  Dial& dial = *dial_;
  const size_t before = dial.attempts.size();
  while (dial.next < dial.addresses->size()) {
    startAttempt((*dial.addresses)[dial.next++]);
    if (state_ != State::Connecting) return;
    if (dial.attempts.size() > before) {
      if (dial.next < dial.addresses->size()) loop_.arm(dial.nextStart, loop_.now() + kHeadStart);
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
  Opened opened = startConnect(address);
  if ((opened.error == EMFILE || opened.error == ENFILE) && loop_.reserve().giveUp()) {
    opened = startConnect(address);
  }
  if (opened.error == 0) return beginRelay(std::move(opened.fd), address, false);
  if (opened.error == EINPROGRESS) {
    auto attempt = std::make_unique<Attempt>(*this, std::move(opened.fd), address);
    opened.error = loop_.watch(attempt->fd.get(), EPOLLOUT, *attempt);
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
  if (error == 0) return beginRelay(std::move(attempt.fd), attempt.address, true);
  record_.server = attempt.address;
  dial_->lastError = error;
  auto& attempts = dial_->attempts;
  const auto failed =
      std::find_if(attempts.begin(), attempts.end(),
                   [&](const std::unique_ptr<Attempt>& one) { return one.get() == &attempt; });
  attempt.fd.reset();
  loop_.retire(std::move(*failed));
  attempts.erase(failed);
  loop_.disarm(dial_->nextStart);
  startAttempts();
}

// Of a last address that failed so.
Connection::Ending Connection::failureOf(int error) {
  if (isShortage(error)) return {CloseReason::Internal, Party::Proxy, error};
  return {CloseReason::ConnectFailed, Party::Server, error};
}

void Connection::tryAgain() {
  Dial& dial = *dial_;
  dial.next = 0;
  dial.pause = dial.pause == 0 ? kFirstPause : std::min(2 * dial.pause, kLongestPause);
  loop_.arm(dial.nextStart, loop_.now() + dial.pause);
}

// Gives up the attempts that are still under way.
void Connection::endDial() {
  if (!dial_) return;
  loop_.disarm(dial_->nextStart);
  for (auto& attempt : dial_->attempts) {
    attempt->fd.reset();
    loop_.retire(std::move(attempt));
  }
  loop_.retire(std::move(dial_));  // its timer may be what calls
}

// No address answered.
void Connection::failDial(Ending ending) {
  if (!dialogue_ || !dialogue_->explain) return close(ending, true);
  endDial();
  // What was ready for when it is connected: nobody gets it.
  up_ = Pump();
  down_ = Pump();
  dialogue_->kind = DecisionRequest::Kind::Failed;
  dialogue_->ending = ending;
  state_ = State::Deciding;
  loop_.arm(deadline_, loop_.now() + timeouts_.head);
  requestDecision();
}

// `watched`: whether `server` is in the poller already, as an attempt.
void Connection::beginRelay(UniqueFd server, const Address& address, bool watched) {
  server_.fd = std::move(server);
  server_.watched = watched;
  record_.server = address;
  record_.connectMicros = loop_.now() - acceptedAt_;
  record_.phase = Phase::Relaying;
  endDial();
  activeAt_ = loop_.now();
  observer_.onConnected(*this);
  if (dialogue_ && dialogue_->kind == DecisionRequest::Kind::Response) return beginExchange();
  relay();
}

void Connection::relay() {
  dialogue_.reset();
  state_ = State::Relaying;
  if (record_.client.isTcp()) up_.allowSplice();
  if (record_.server.isTcp()) down_.allowSplice();
  armQuietDeadline();
  // What the client has sent meanwhile is on its way before the poller hears of either side.
  const int error = turn(up_, client_, server_);
  if (error != 0) return settle(&client_, error);
  if (down_.wantsSink()) down_.deliver(client_.fd.get());
  settle(nullptr, 0);
}

void Connection::armQuietDeadline() {
  const Micros quiet = loop_.now() + timeouts_.quiet;
  loop_.arm(deadline_, timeouts_.idle == 0 ? quiet : std::min(quiet, activeAt_ + timeouts_.idle));
}

void Connection::onSideReady(Side& side, uint32_t events) {
  switch (state_) {
    case State::Deciding:
      if (&side == &client_ && !awaitsDecision()) collect(side);
      return;
    case State::Relaying:
      return onRelayReady(side, events);
    case State::Exchanging:
      return onExchangeReady(side, events);
    case State::Leaving:
      return onLeavingReady(events);
    case State::Waiting:
    case State::Connecting:
    case State::Closed:
      return;
  }
}

void Connection::onRelayReady(Side& side, uint32_t events) {
  const bool isClient = &side == &client_;
  Side& other = isClient ? server_ : client_;
  Pump& from = isClient ? up_ : down_;
  Pump& to = isClient ? down_ : up_;
  const bool failed = (events & EPOLLERR) != 0;
  const bool ended = failed || (events & EPOLLHUP) != 0;
  side.hungUp |= ended && !failed;

  // A reset or hang-up is met by the read or write that it lets through, so that what was sent
  // before it still arrives. Only where neither is due does it speak for itself.
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
  const int error = move(pump, source, sink);
  return error == 0 && pump.state() == Pump::State::SourceDone ? onSourceDone(pump, source, sink) : error;
}

int Connection::move(Pump& pump, Side& source, Side& sink) {
  const uint64_t before = pump.bytes();
  const int error = pump.run(source.fd.get(), sink.fd.get(), loop_.scratch());
  if (pump.bytes() != before) activeAt_ = loop_.now();
  return error;
}

// Passes an EOF on, or returns the errno that shows that it is none.
int Connection::onSourceDone(Pump& pump, Side& source, Side& sink) {
  if (firstEof_ == Party::Proxy) firstEof_ = partyOf(source);
  // The kernel tells a reset only once. If a write to the source heard it, the end of what was left
  // to read is no EOF: passing it on as one would make a cut answer look whole. After EPIPE it is
  // one: the peer closed in order and merely did not wait for what was still to come.
  Pump& reverse = &pump == &up_ ? down_ : up_;
  if (reverse.sinkError() != 0 && reverse.sinkError() != EPIPE) return reverse.sinkError();
  // recv(2) on vsock looks at the state before the error: the end of a virtual machine reads as EOF.
  if (!isTcp(source)) {
    const int error = connectOutcome(source.fd.get());
    if (error != 0) return error;
  }
  // An EOF may be half a close or a whole one, and then nobody is left to wait for.
  if (reverse.state() == Pump::State::Flowing) {
    const int refusal = refusalOf(source.fd.get());
    if (refusal == EPIPE) {
      reverse.failSink(EPIPE);
    } else if (refusal != 0) {
      return refusal;
    }
  }
  shutdownWrite(sink.fd.get());
  return 0;
}

// Brings deadlines, epoll interest and state in line with what the pumps have become.
void Connection::settle(const Side* failedSide, int error) {
  if (failedSide != nullptr) return close({CloseReason::Reset, partyOf(*failedSide), error}, true);
  for (const Pump* pump : {&up_, &down_}) {
    const int failure = pump->sinkError();
    if (isShortage(failure)) return close({CloseReason::Internal, Party::Proxy, failure}, true);
  }
  const bool upDone = up_.state() != Pump::State::Flowing;
  const bool downDone = down_.state() != Pump::State::Flowing;
  if (upDone && downDone) {
    for (const Pump* pump : {&up_, &down_}) {
      if (!pump->lostBytes()) continue;
      const Party sink = pump == &up_ ? Party::Server : Party::Client;
      return close({CloseReason::Reset, sink, pump->sinkError()}, pump->sinkError() != EPIPE);
    }
    return close({CloseReason::Finished, firstEof_}, false);
  }
  updateInterest(client_, up_, down_);
  if (state_ == State::Relaying) updateInterest(server_, down_, up_);
}

// `from` reads from the side, `to` writes to it. A side that has sent its EOF stays watched for a
// reset; one that cannot be read for now does not, for what it sent before a reset comes first.
void Connection::updateInterest(Side& side, const Pump& from, const Pump& to) {
  const uint32_t interest =
      (from.wantsSource() ? uint32_t{EPOLLIN} : 0) | (to.wantsSink() ? uint32_t{EPOLLOUT} : 0);
  watch(side, interest != 0 || (from.state() == Pump::State::SourceDone && !side.hungUp), interest);
}

void Connection::watch(Side& side, bool watched, uint32_t interest) {
  if (watched == side.watched && interest == side.interest) return;
  int error = 0;
  if (!watched) {
    loop_.unwatch(side.fd.get());
  } else if (!side.watched) {
    error = loop_.watch(side.fd.get(), interest, side);
  } else {
    error = loop_.rewatch(side.fd.get(), interest, side);
  }
  side.watched = watched;
  side.interest = interest;
  if (error != 0) close({CloseReason::Internal, Party::Proxy, error}, true);
}

void Connection::onDeadline() {
  switch (state_) {
    case State::Waiting:
      return close({CloseReason::NoUpstream, Party::Proxy, ETIMEDOUT}, true);
    case State::Connecting:
      // Between two rounds, what the last address answered says more.
      if (dial_->attempts.empty()) return failDial(failureOf(dial_->lastError));
      return failDial({CloseReason::ConnectTimeout, Party::Proxy, ETIMEDOUT});
    case State::Relaying:
      return onRelayDeadline();
    case State::Deciding:
    case State::Exchanging:
    case State::Leaving:
      return onDialogueDeadline();
    case State::Closed:
      return;
  }
}

void Connection::onRelayDeadline() {
  if (checkQuiet()) return;
  // A peer that reads no more raises no event while it is not read from, or its buffer is full: a vsock
  // peer that has closed one half, and now the other, or both at once with bytes under way.
  if (up_.state() == Pump::State::Flowing && refusalOf(server_.fd.get()) == EPIPE) up_.failSink(EPIPE);
  if (down_.state() == Pump::State::Flowing && refusalOf(client_.fd.get()) == EPIPE) down_.failSink(EPIPE);
  settle(nullptr, 0);
  if (state_ == State::Relaying) armQuietDeadline();
}

// Nothing was sent for some time: the end, or a reason to ask the kernel whether the peers are there.
// Returns whether the connection has ended.
bool Connection::checkQuiet() {
  if (timeouts_.idle != 0 && activeAt_ + timeouts_.idle <= loop_.now()) {
    close({CloseReason::IdleTimeout, Party::Proxy, ETIMEDOUT}, state_ != State::Deciding);
    return true;
  }
  if (activeAt_ + timeouts_.quiet <= loop_.now()) {
    for (Side* side : {&client_, &server_}) {
      if (side->fd && !side->keptAlive) keepAlive(side->fd.get());
      side->keptAlive = true;
    }
  }
  return false;
}

// A close(2) with bytes unread is a reset to TCP, and takes what the peer has not received yet with it.
void Connection::discardUnread(const Side& side, const Pump& from) {
  if (from.state() == Pump::State::SourceDone) return;
  for (int i = 0; i < kMostDiscards; ++i) {
    if (receive(side.fd.get(), loop_.scratch().buffer(), loop_.scratch().bytes()).bytes == 0) return;
  }
}

void Connection::abort(CloseReason reason) { close({reason}, true); }

void Connection::close(const Ending& ending, bool reset) {
  if (state_ == State::Closed) return;
  state_ = State::Closed;
  loop_.disarm(deadline_);
  endDial();
  if (reset) {
    resetOnClose(client_.fd.get());
    if (server_.fd) resetOnClose(server_.fd.get());
  } else {
    discardUnread(client_, up_);
    if (server_.fd) discardUnread(server_, down_);
  }
  client_.fd.reset();
  server_.fd.reset();

  record_.bytesUp += up_.bytes();
  record_.bytesDown += down_.bytes();
  record_.totalMicros = loop_.now() - acceptedAt_;
  if (record_.phase != Phase::Relaying && record_.connectMicros == 0)
    record_.connectMicros = record_.totalMicros;
  record_.reason = ending.reason;
  record_.endedBy = ending.endedBy;
  record_.error = ending.error;
  observer_.onClosed(*this);
}

}  // namespace vsock_proxy
