#include "exchange.h"

#include <algorithm>
#include <cerrno>

namespace vsock_proxy {
namespace {

// The time for a client to read its last answer and to close: RFC 9112, section 9.6.
constexpr Micros kLinger = 2 * 1000 * 1000;

uint32_t interest(bool in, bool out) { return (in ? uint32_t{EPOLLIN} : 0) | (out ? uint32_t{EPOLLOUT} : 0); }

}  // namespace

Exchange::Next Exchange::close(const Ending& ending, bool reset) {
  Next next = to(Next::Step::Close);
  next.ending = ending;
  next.reset = reset;
  return next;
}

Exchange::Next Exchange::to(Next::Step step) {
  Next next;
  next.step = step;
  return next;
}

Exchange::Next Exchange::dial(Addresses addresses) {
  link_.watch(link_.client, false, 0);
  link_.loop.arm(link_.deadline, link_.loop.now() + link_.timeouts.connect);
  Next next = to(Next::Step::Dial);
  next.addresses = std::move(addresses);
  return next;
}

// This side has failed.
Exchange::Next Exchange::failed(const Side& side, int error) const {
  return close({CloseReason::Reset, link_.partyOf(side), error}, true);
}

Exchange::Next Exchange::watchClient(uint32_t interest) {
  const int error = link_.watch(link_.client, true, interest);
  return error == 0 ? Next() : close({CloseReason::Internal, Party::Proxy, error}, true);
}

Exchange::Next Exchange::start(RequestKind kind) {
  record_.phase = Phase::Deciding;
  round_.kind = kind;
  link_.loop.arm(link_.deadline, link_.loop.now() + link_.timeouts.head);
  return kind == RequestKind::Client ? request(kind) : collectHead();
}

Exchange::Next Exchange::request(RequestKind kind) {
  round_.kind = kind;
  round_.requested = true;
  round_.fresh = false;
  return to(Next::Step::Request);
}

DecisionRequest Exchange::request() {
  if (round_.kind != RequestKind::Response) link_.watch(link_.client, false, 0);
  DecisionRequest request;
  request.kind = round_.kind;
  request.listener = record_.listener;
  request.connection = record_.connection;
  request.client = record_.client;
  request.target = record_.target;
  switch (request.kind) {
    case RequestKind::Client:
      request.local = localAddress(link_.client.fd.get());
      break;
    case RequestKind::Head:
    case RequestKind::Response:
      request.bytes = round_.bytes;
      request.ended = round_.ended;
      // From now on the control plane knows of the exchange, and reads its response.
      request.head = std::move(round_.plain.head);
      round_.plain = PlainExchange();
      break;
    case RequestKind::Failed:
      request.head = std::move(round_.plain.head);
      request.reason = round_.ending.reason;
      request.error = round_.ending.error;
      request.server = record_.server;
      break;
  }
  return request;
}

size_t Exchange::headLimit() const {
  return round_.kind == RequestKind::Response ? kResponseHeadBytes : kRequestHeadBytes;
}

// Reads more of a head, of the client or of the server.
void Exchange::read(Side& side) {
  const size_t before = round_.bytes.size();
  const size_t room = std::min(headLimit() - std::min(before, headLimit()), link_.loop.scratch().bytes());
  const Moved read = receive(side.fd.get(), link_.loop.scratch().buffer(), room);
  if (read.error == EAGAIN) return;
  if (read.bytes == 0) {
    round_.ended = true;
    round_.error = read.error;
  }
  // The time for a later request begins with its first byte.
  if (state_ == State::Deciding && round_.later && before == 0 && read.bytes != 0) {
    link_.loop.arm(link_.deadline, link_.loop.now() + link_.timeouts.head);
  }
  round_.bytes.append(link_.loop.scratch().buffer(), read.bytes);
  round_.fresh = isWorthARequest(before);
  link_.activeAt = link_.loop.now();
}

Exchange::Next Exchange::collectHead() {
  read(link_.client);
  if (round_.error != 0) return failed(link_.client, round_.error);
  if (round_.ended && round_.bytes.empty()) return close({CloseReason::Finished, Party::Client}, false);
  return round_.fresh ? request(RequestKind::Head) : watchClient(EPOLLIN);
}

// Whether the bytes after the first `before` may change the decision.
bool Exchange::isWorthARequest(size_t before) const {
  if (round_.ended || isFull()) return true;
  if (round_.bytes.size() < round_.atLeast) return false;
  return round_.until < 0 || round_.bytes.find(static_cast<char>(round_.until), before) != std::string::npos;
}

Exchange::Next Exchange::decide(Decision decision) {
  round_.requested = false;
  const RequestKind kind = round_.kind;
  const bool fits = decision.consume <= round_.bytes.size();
  const bool ofClient = kind == RequestKind::Client || kind == RequestKind::Head;
  const bool ofServer = kind == RequestKind::Response;
  switch (decision.action) {
    case Action::More:
      if (kind != RequestKind::Head && !ofServer) break;
      if (isFull() || round_.ended) {
        return close({CloseReason::Malformed, ofServer ? Party::Server : Party::Client}, true);
      }
      if (!ofServer && !decision.toClient.empty()) {
        link_.down.prime(decision.toClient);
        link_.down.deliver(link_.client.fd.get());
      }
      round_.atLeast = decision.atLeast;
      round_.until = decision.until;
      return ofServer ? settle() : watchClient(EPOLLIN);
    case Action::Connect:
      if (!ofClient || !fits || !decision.addresses) break;
      return connect(decision);
    case Action::Exchange:
      if (kind != RequestKind::Head || !fits || !decision.addresses) break;
      return exchange(decision);
    case Action::Interim:
      if (!ofServer || !fits) break;
      return interim(decision);
    case Action::Respond:
      if (!ofServer || !fits) break;
      return respond(decision);
    case Action::Relay:
      if (!ofServer || !fits || !round_.handshake) break;
      return relayAfter(decision);
    case Action::Reject:
      if (ofClient) link_.close(link_.server);
      if (decision.target != kNoTarget) record_.target = decision.target;
      link_.down.prime(decision.toClient);
      if (kind != RequestKind::Failed)
        round_.ending = {decision.reason, ofServer ? Party::Server : Party::Proxy, 0};
      return leave(round_.ending);
  }
  return close({CloseReason::Internal, Party::Proxy, EPROTO}, true);
}

Exchange::Next Exchange::connect(Decision& decision) {
  link_.close(link_.server);
  record_.target = decision.target;
  std::string early = round_.bytes.substr(decision.consume);
  link_.up.prime(decision.toServer);
  round_ = Round();
  round_.explain = decision.explain || decision.handshake;
  if (decision.handshake) {
    round_.kind = RequestKind::Response;
    round_.handshake = true;
    round_.early = std::move(early);
    link_.up.hold();
    link_.down.hold();
  } else {
    link_.up.prime(early);
    link_.down.prime(decision.toClient);
  }
  return dial(std::move(decision.addresses));
}

Exchange::Next Exchange::exchange(Decision& decision) {
  record_.target = decision.target;
  link_.up.prime(decision.toServer);
  link_.up.limit(decision.body, std::string_view(round_.bytes).substr(decision.consume));
  link_.down.hold();
  const bool reuse = mayReuse(decision);
  round_ = Round();
  round_.kind = RequestKind::Response;
  round_.explain = true;
  round_.persistent = decision.persistent;
  round_.plain = std::move(decision.plain);
  if (!reuse) {
    link_.close(link_.server);
    return dial(std::move(decision.addresses));
  }
  record_.server = kept_.address;
  record_.phase = Phase::Relaying;
  round_.again = std::make_unique<Again>(Again{std::move(decision.addresses), std::move(decision.toServer)});
  return to(Next::Step::Reuse);
}

// A kept server must not have sent anything, because that would be taken for the answer.
bool Exchange::mayReuse(const Decision& decision) const {
  if (!link_.server.fd || !decision.persistent || kept_.target != decision.target) return false;
  const auto& addresses = *decision.addresses;
  return std::find(addresses.begin(), addresses.end(), kept_.address) != addresses.end() &&
         isQuiet(link_.server.fd.get());
}

// The server was gone already, or left when it got the request.
Exchange::Next Exchange::dialAgain() {
  const std::unique_ptr<Again> again = std::move(round_.again);
  const std::string behind = link_.up.takeBehind();
  link_.close(link_.server);
  link_.up = Pump();
  link_.up.prime(again->toServer);
  link_.up.limit(Body::none(), behind);
  round_.fresh = round_.ended = false;
  round_.error = 0;
  return dial(std::move(again->addresses));
}

Exchange::Next Exchange::onConnected() {
  state_ = State::Exchanging;
  if (round_.handshake) {
    // The server may have to decide and to connect, under deadlines like ours, and must have time to report
    // the result.
    link_.loop.arm(link_.deadline, link_.loop.now() + link_.timeouts.head + link_.timeouts.connect);
  } else {
    link_.armQuietDeadline();
  }
  const int error = link_.move(link_.up, link_.client, link_.server);
  return error == 0 ? settle() : failed(link_.client, error);
}

Exchange::Next Exchange::onDialFailed(const Ending& ending) {
  // The bytes for a connected server are dropped.
  link_.up = Pump();
  link_.down = Pump();
  round_.ending = ending;
  state_ = State::Deciding;
  link_.loop.arm(link_.deadline, link_.loop.now() + link_.timeouts.head);
  return request(RequestKind::Failed);
}

Exchange::Next Exchange::onReady(Side& side, uint32_t events) {
  switch (state_) {
    case State::Deciding:
      // A kept server ended, or sent bytes without a request.
      if (&side == &link_.server) {
        link_.close(link_.server);
        return {};
      }
      return round_.requested ? Next() : collectHead();
    case State::Exchanging:
      return onExchangeReady(side, events);
    case State::Leaving:
      return onLeavingReady(events);
  }
  return {};
}

Exchange::Next Exchange::onExchangeReady(Side& side, uint32_t events) {
  const bool ended = (events & (EPOLLERR | EPOLLHUP)) != 0;
  const bool readable = ended || (events & EPOLLIN) != 0;
  const bool writable = ended || (events & EPOLLOUT) != 0;
  side.hungUp |= ended;
  if (&side == &link_.client) {
    const bool read = readable && link_.up.wantsSource();
    const bool write = writable && link_.down.wantsSink();
    if (read) {
      const int error = link_.move(link_.up, link_.client, link_.server);
      if (error != 0) return failed(link_.client, error);
    }
    if (write) {
      const int error = link_.move(link_.down, link_.server, link_.client);
      if (error != 0) return failed(link_.server, error);
    }
    round_.clientSpoke |= readable && !read;
    // No peer is left to answer.
    if (ended && !read && !write) return failed(link_.client, connectOutcome(link_.client.fd.get()));
  } else {
    if (writable && link_.up.wantsSink()) {
      const int error = link_.move(link_.up, link_.client, link_.server);
      if (error != 0) return failed(link_.client, error);
    }
    if (readable && collectsResponse()) read(link_.server);
    if (readable && link_.down.wantsSource()) {
      const int error = link_.move(link_.down, link_.server, link_.client);
      if (error != 0) return failed(link_.server, error);
    }
  }
  return settle();
}

// A server that sends faster than its client reads waits, as in a relay.
bool Exchange::collectsResponse() const {
  return !round_.requested && !round_.responding && !round_.ended && !link_.down.wantsSink();
}

Exchange::Next Exchange::interim(Decision& decision) {
  if (++round_.interims > kInterimResponses) return close({CloseReason::Malformed, Party::Server}, true);
  link_.down.prime(decision.toClient);
  round_.bytes.erase(0, decision.consume);
  round_.atLeast = 0;
  round_.until = -1;
  round_.fresh = !round_.bytes.empty() || round_.ended;
  link_.down.deliver(link_.client.fd.get());
  return settle();
}

Exchange::Next Exchange::respond(Decision& decision) {
  const auto rest = std::string_view(round_.bytes).substr(decision.consume);
  if (round_.handshake) {
    // The server has refused. Its response is all that the client gets, and the bytes of the client are
    // dropped.
    round_.handshake = false;
    link_.armQuietDeadline();
  }
  round_.responding = true;
  round_.untilEof = decision.untilEof;
  round_.next = decision.next;
  round_.keep = round_.persistent && decision.keep;
  link_.down.prime(decision.toClient);
  if (decision.untilEof)
    link_.down.prime(rest);
  else
    link_.down.limit(decision.body, rest);
  round_.bytes = std::string();
  link_.down.release();
  // A reset is reported only once; what follows it reads as an EOF.
  if (round_.error != 0 && !link_.down.bodyComplete()) return failed(link_.server, round_.error);
  const int error = link_.move(link_.down, link_.server, link_.client);
  return error == 0 ? settle() : failed(link_.server, error);
}

// The handshake has succeeded.
Exchange::Next Exchange::relayAfter(Decision& decision) {
  if (round_.error != 0) return failed(link_.server, round_.error);
  link_.up.prime(round_.early);
  link_.down.prime(decision.toClient);
  link_.down.prime(std::string_view(round_.bytes).substr(decision.consume));
  link_.up.release();
  link_.down.release();
  return to(Next::Step::Relay);
}

// Adapts the exchange and epoll to the pumps.
Exchange::Next Exchange::settle() {
  switch (link_.up.state()) {
    case Pump::State::Malformed:
      return close({CloseReason::Malformed, Party::Client}, true);
    case Pump::State::SourceDone:  // in the middle of its body
      return close({CloseReason::Reset, Party::Client}, true);
    case Pump::State::SinkFailed:  // the server may have answered nevertheless
    case Pump::State::Flowing:
    case Pump::State::BodyDone:
      break;
  }
  switch (link_.down.state()) {
    case Pump::State::Malformed:
      return close({CloseReason::Malformed, Party::Server}, true);
    case Pump::State::SinkFailed:
      return close({CloseReason::Reset, Party::Client, link_.down.sinkError()}, true);
    case Pump::State::SourceDone: {
      const int error = Link::resetBehindEof(link_.server, link_.up, record_.server.family());
      if (error != 0 || !round_.untilEof) return failed(link_.server, error);
      return endResponse();
    }
    case Pump::State::BodyDone:
      return endResponse();
    case Pump::State::Flowing:
      break;
  }
  Next next;
  if (!round_.responding && !round_.requested && round_.fresh && !link_.down.wantsSink()) {
    if (round_.again && round_.bytes.empty()) return dialAgain();
    round_.again.reset();
    if (!round_.plain.head.empty()) {
      if (const auto response = readPlainResponse(round_.bytes)) return answer(*response);
    }
    next = request(RequestKind::Response);
  }
  uint32_t ofClient = interest(link_.up.wantsSource(), link_.down.wantsSink());
  const uint32_t ofServer = interest(collectsResponse() || link_.down.wantsSource(), link_.up.wantsSink());
  // Most clients are silent while they wait. epoll would report what they send next.
  if (ofClient == 0 && !round_.clientSpoke) ofClient = link_.client.interest & EPOLLIN;
  int error = link_.watch(link_.client, ofClient != 0 || !link_.client.hungUp, ofClient);
  if (error == 0) error = link_.watch(link_.server, ofServer != 0, ofServer);
  return error == 0 ? next : close({CloseReason::Internal, Party::Proxy, error}, true);
}

// The client has the complete response.
Exchange::Next Exchange::endResponse() {
  keepOrDropServer();
  return to(Next::Step::Responded);
}

// The server is kept if the response had a known end, and no byte followed it.
void Exchange::keepOrDropServer() {
  const bool ended = link_.up.state() == Pump::State::BodyDone && link_.down.state() == Pump::State::BodyDone;
  if (ended && round_.keep && round_.next && link_.timeouts.reuse != 0 && link_.down.takeBehind().empty() &&
      link_.watch(link_.server, true, EPOLLIN) == 0) {
    kept_ = {record_.target, record_.server, link_.loop.now() + link_.timeouts.reuse};
    return;
  }
  link_.discardUnread(link_.server, link_.down);
  link_.close(link_.server);
}

// The client's answer is decided here, exactly as src/protocol/http-response.ts would.
Exchange::Next Exchange::answer(const PlainResponse& response) {
  Decision decision;
  decision.consume = response.bytes;
  decision.next = round_.plain.keepAlive;
  decision.toClient = writeResponse(response, decision.next);
  decision.body = response.body;
  decision.keep = response.keepAlive;
  const unsigned status = response.status;
  Next next = respond(decision);
  next.answered = status;
  return next;
}

Exchange::Next Exchange::afterResponse(bool wasLast) {
  const bool next = round_.next && link_.up.state() == Pump::State::BodyDone && !wasLast;
  std::string behind = link_.up.takeBehind();
  record_.bytesUp += link_.up.bytes();
  record_.bytesDown += link_.down.bytes();
  link_.up = Pump();
  link_.down = Pump();
  round_ = Round();
  if (!next) {
    link_.close(link_.server);
    return leave({CloseReason::Finished, Party::Server});
  }
  state_ = State::Deciding;
  record_.phase = Phase::Deciding;
  record_.server = Address();
  record_.target = kNoTarget;
  round_.later = true;
  round_.bytes = std::move(behind);
  if (!round_.bytes.empty()) {
    link_.loop.arm(link_.deadline, link_.loop.now() + link_.timeouts.head);
    return request(RequestKind::Head);
  }
  link_.activeAt = link_.loop.now();
  armIdleDeadline();
  return watchClient(EPOLLIN);
}

// Between two requests.
void Exchange::armIdleDeadline() {
  if (link_.server.fd)
    link_.armQuietDeadline(kept_.until);
  else
    link_.armQuietDeadline();
}

// The client gets its last bytes, and time to read them. A close with unread bytes would send a reset over
// TCP, which could destroy the answer.
Exchange::Next Exchange::leave(const Ending& ending) {
  if (!link_.down.wantsSink() && ending.reason != CloseReason::Finished) return close(ending, true);
  if (link_.server.fd) {
    resetOnClose(link_.server.fd.get());
    link_.close(link_.server);
  }
  state_ = State::Leaving;
  round_.ending = ending;
  round_.ended = false;
  link_.loop.arm(link_.deadline, link_.loop.now() + kLinger);
  return goOnLeaving();
}

Exchange::Next Exchange::goOnLeaving() {
  if (link_.down.wantsSink()) link_.down.deliver(link_.client.fd.get());
  if (link_.down.state() == Pump::State::SinkFailed) return close(round_.ending, true);
  if (!link_.down.wantsSink()) {
    if (round_.ended) return close(round_.ending, false);
    shutdownWrite(link_.client.fd.get());
  }
  return watchClient(interest(!round_.ended, link_.down.wantsSink()));
}

Exchange::Next Exchange::onLeavingReady(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
    Scratch& scratch = link_.loop.scratch();
    const Moved read = receive(link_.client.fd.get(), scratch.buffer(), scratch.bytes());
    if (read.error != 0 && read.error != EAGAIN) return close(round_.ending, true);
    round_.ended |= read.bytes == 0 && read.error == 0;
  }
  return goOnLeaving();
}

Exchange::Next Exchange::onDeadline() {
  if (state_ == State::Leaving) return close(round_.ending, link_.down.wantsSink());
  if (round_.kind == RequestKind::Failed) return close(round_.ending, true);
  if (round_.handshake) {
    const Ending late{CloseReason::ConnectTimeout, Party::Proxy, ETIMEDOUT};
    if (round_.requested) return close(late, true);
    link_.close(link_.server);
    return onDialFailed(late);
  }
  if (state_ == State::Exchanging || isBetweenRequests()) {
    if (link_.isIdleTooLong()) {
      return close({CloseReason::IdleTimeout, Party::Proxy, ETIMEDOUT}, state_ != State::Deciding);
    }
    link_.keepAliveIfQuiet();
    if (state_ == State::Exchanging) {
      link_.armQuietDeadline();
    } else {
      if (link_.server.fd && kept_.until <= link_.loop.now()) link_.close(link_.server);
      armIdleDeadline();
    }
    return {};
  }
  const CloseReason reason = round_.requested ? CloseReason::DecisionTimeout : CloseReason::HeadTimeout;
  return close({reason, Party::Proxy, ETIMEDOUT}, false);
}

}  // namespace vsock_proxy
