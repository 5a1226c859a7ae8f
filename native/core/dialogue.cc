// The states of connections whose way is asked about: Asking, Exchanging, Leaving.

#include <algorithm>
#include <cerrno>

#include "connection.h"

namespace vsock_proxy {
namespace {

// For a client that has its last answer to hear of it, and to close: RFC 9112, section 9.6.
constexpr Micros kLinger = 2 * 1000 * 1000;
// Nobody needs more than a few before the final response.
constexpr unsigned kMostInterims = 16;

}  // namespace

void Connection::startDialogue(DecisionRequest::Kind kind) {
  state_ = State::Deciding;
  record_.phase = Phase::Deciding;
  dialogue_ = std::make_unique<Dialogue>();
  dialogue_->kind = kind;
  loop_.arm(deadline_, acceptedAt_ + timeouts_.head);
  if (kind == DecisionRequest::Kind::Client) return requestDecision();
  collect(client_);
}

void Connection::requestDecision() {
  dialogue_->asked = true;
  dialogue_->fresh = false;
  DecisionRequest request;
  request.kind = dialogue_->kind;
  request.listener = record_.listener;
  request.connection = record_.connection;
  request.client = record_.client;
  request.target = record_.target;
  switch (request.kind) {
    case DecisionRequest::Kind::Client:
      request.local = localAddress(client_.fd.get());
      break;
    case DecisionRequest::Kind::Head:
    case DecisionRequest::Kind::Response:
      request.bytes = dialogue_->bytes;
      request.ended = dialogue_->ended;
      break;
    case DecisionRequest::Kind::Failed:
      request.reason = dialogue_->ending.reason;
      request.error = dialogue_->ending.error;
      request.server = record_.server;
      break;
  }
  // Nobody is read from meanwhile.
  if (state_ == State::Deciding) watch(client_, false, 0);
  observer_.onDecisionRequest(*this, std::move(request));
}

// Reads more of a head, of the client's or of the server's.
void Connection::collect(Side& side) {
  Dialogue& dialogue = *dialogue_;
  const size_t before = dialogue.bytes.size();
  const size_t room = kHeadBytes - std::min(before, kHeadBytes);
  const Moved read = receive(side.fd.get(), loop_.scratch().buffer(), room);
  if (read.error != EAGAIN) {
    if (read.bytes == 0) {
      dialogue.ended = true;
      dialogue.error = read.error;
    }
    // The time for a later request begins with its first byte.
    if (state_ == State::Deciding && dialogue.later && before == 0 && read.bytes != 0) {
      loop_.arm(deadline_, loop_.now() + timeouts_.head);
    }
    dialogue.bytes.append(loop_.scratch().buffer(), read.bytes);
    dialogue.fresh = isWorthAsking(before);
    activeAt_ = loop_.now();
  }
  if (state_ == State::Exchanging) return;
  if (dialogue.error != 0) return close({CloseReason::Reset, Party::Client, dialogue.error}, true);
  if (dialogue.ended && dialogue.bytes.empty()) return close({CloseReason::Finished, Party::Client}, false);
  if (dialogue.fresh) return requestDecision();
  watch(client_, true, EPOLLIN);
}

// Whether what came behind the first `before` bytes may change the answer.
bool Connection::isWorthAsking(size_t before) const {
  const Dialogue& dialogue = *dialogue_;
  if (dialogue.ended || dialogue.bytes.size() >= kHeadBytes) return true;
  if (dialogue.bytes.size() < dialogue.atLeast) return false;
  return dialogue.until < 0 ||
         dialogue.bytes.find(static_cast<char>(dialogue.until), before) != std::string::npos;
}

void Connection::decide(Decision decision) {
  if (!awaitsDecision()) return;
  dialogue_->asked = false;
  const DecisionRequest::Kind kind = dialogue_->kind;
  const bool fits = decision.consume <= dialogue_->bytes.size();
  const bool ofClient = kind == DecisionRequest::Kind::Client || kind == DecisionRequest::Kind::Head;
  const bool ofServer = kind == DecisionRequest::Kind::Response;
  const bool full = dialogue_->bytes.size() >= kHeadBytes;
  switch (decision.action) {
    case Decision::Action::More:
      if (kind != DecisionRequest::Kind::Head && !ofServer) break;
      if (full || dialogue_->ended) {
        return close({CloseReason::Malformed, ofServer ? Party::Server : Party::Client}, true);
      }
      dialogue_->atLeast = decision.atLeast;
      dialogue_->until = decision.until;
      return ofServer ? settleExchange(nullptr, 0) : watch(client_, true, EPOLLIN);
    case Decision::Action::Connect:
      if (!ofClient || !fits) break;
      return connect(decision);
    case Decision::Action::Exchange:
      if (kind != DecisionRequest::Kind::Head || !fits) break;
      return exchange(decision);
    case Decision::Action::Interim:
      if (!ofServer || !fits || dialogue_->handshake) break;
      return interim(decision);
    case Decision::Action::Respond:
      if (!ofServer || !fits || dialogue_->handshake) break;
      return respond(decision);
    case Decision::Action::Relay:
      if (!ofServer || !fits || !dialogue_->handshake) break;
      return relayAfter(decision);
    case Decision::Action::Reject:
      if (decision.target != kNoTarget) record_.target = decision.target;
      down_.prime(decision.toClient);
      if (kind != DecisionRequest::Kind::Failed)
        dialogue_->ending = {decision.reason, ofServer ? Party::Server : Party::Proxy, 0};
      return leave(dialogue_->ending);
  }
  close({CloseReason::Internal, Party::Proxy, EPROTO}, true);
}

void Connection::connect(Decision& decision) {
  record_.target = decision.target;
  std::string early = dialogue_->bytes.substr(decision.consume);
  up_.prime(decision.toServer);
  *dialogue_ = Dialogue();
  dialogue_->explain = decision.explain || decision.handshake;
  if (decision.handshake) {
    dialogue_->kind = DecisionRequest::Kind::Response;
    dialogue_->handshake = true;
    dialogue_->early = std::move(early);
    up_.hold();
    down_.hold();
  } else {
    up_.prime(early);
    down_.prime(decision.toClient);
    if (!decision.explain) dialogue_.reset();
  }
  loop_.arm(deadline_, loop_.now() + timeouts_.connect);
  dial(std::make_shared<const std::vector<Address>>(std::move(decision.addresses)));
}

void Connection::exchange(Decision& decision) {
  record_.target = decision.target;
  up_.prime(decision.toServer);
  up_.limit(decision.body, std::string_view(dialogue_->bytes).substr(decision.consume));
  down_.hold();
  *dialogue_ = Dialogue();
  dialogue_->kind = DecisionRequest::Kind::Response;
  dialogue_->explain = true;
  loop_.arm(deadline_, loop_.now() + timeouts_.connect);
  dial(std::make_shared<const std::vector<Address>>(std::move(decision.addresses)));
}

void Connection::beginExchange() {
  state_ = State::Exchanging;
  if (dialogue_->handshake) {
    // The server may be asked to decide and to connect itself, under deadlines like ours, and is to say how
    // that went.
    loop_.arm(deadline_, loop_.now() + timeouts_.head + timeouts_.connect);
  } else {
    armQuietDeadline();
  }
  const int error = move(up_, client_, server_);
  settleExchange(error == 0 ? nullptr : &client_, error);
}

void Connection::onExchangeReady(Side& side, uint32_t events) {
  const bool ended = (events & (EPOLLERR | EPOLLHUP)) != 0;
  const bool readable = ended || (events & EPOLLIN) != 0;
  const bool writable = ended || (events & EPOLLOUT) != 0;
  side.hungUp |= ended;
  if (&side == &client_) {
    const bool read = readable && up_.wantsSource();
    const bool write = writable && down_.wantsSink();
    if (read) {
      const int error = move(up_, client_, server_);
      if (error != 0) return settleExchange(&client_, error);
    }
    if (write) {
      const int error = move(down_, server_, client_);
      if (error != 0) return settleExchange(&server_, error);
    }
    // Nobody is left to answer.
    if (ended && !read && !write) return settleExchange(&client_, connectOutcome(client_.fd.get()));
  } else {
    if (writable && up_.wantsSink()) {
      const int error = move(up_, client_, server_);
      if (error != 0) return settleExchange(&client_, error);
    }
    if (readable && collectsResponse()) collect(server_);
    if (readable && down_.wantsSource()) {
      const int error = move(down_, server_, client_);
      if (error != 0) return settleExchange(&server_, error);
    }
  }
  settleExchange(nullptr, 0);
}

// A server that answers faster than its client takes waits, as in a relay.
bool Connection::collectsResponse() const {
  return !dialogue_->asked && !dialogue_->responding && !dialogue_->ended && !down_.wantsSink();
}

void Connection::interim(Decision& decision) {
  if (++dialogue_->interims > kMostInterims) return close({CloseReason::Malformed, Party::Server}, true);
  down_.prime(decision.toClient);
  dialogue_->bytes.erase(0, decision.consume);
  dialogue_->atLeast = 0;
  dialogue_->until = -1;
  dialogue_->fresh = !dialogue_->bytes.empty() || dialogue_->ended;
  down_.deliver(client_.fd.get());
  settleExchange(nullptr, 0);
}

void Connection::respond(Decision& decision) {
  Dialogue& dialogue = *dialogue_;
  const auto rest = std::string_view(dialogue.bytes).substr(decision.consume);
  dialogue.responding = true;
  dialogue.untilEof = decision.untilEof;
  dialogue.next = decision.next;
  down_.prime(decision.toClient);
  if (decision.untilEof)
    down_.prime(rest);
  else
    down_.limit(decision.body, rest);
  dialogue.bytes = std::string();
  down_.release();
  // A reset is told only once; what follows it reads as an EOF.
  if (dialogue.error != 0 && !down_.bodyComplete()) return settleExchange(&server_, dialogue.error);
  const int error = move(down_, server_, client_);
  settleExchange(error == 0 ? nullptr : &server_, error);
}

// The server has said what it takes to relay.
void Connection::relayAfter(Decision& decision) {
  up_.prime(dialogue_->early);
  down_.prime(decision.toClient);
  down_.prime(std::string_view(dialogue_->bytes).substr(decision.consume));
  const int error = dialogue_->error;
  if (error != 0) return settleExchange(&server_, error);
  up_.release();
  down_.release();
  relay();
}

// Brings what the pumps have become in line with the exchange, and epoll with both.
void Connection::settleExchange(const Side* failedSide, int error) {
  Dialogue& dialogue = *dialogue_;
  if (failedSide != nullptr) return close({CloseReason::Reset, partyOf(*failedSide), error}, true);
  switch (up_.state()) {
    case Pump::State::Malformed:
      return close({CloseReason::Malformed, Party::Client}, true);
    case Pump::State::SourceDone:  // in the middle of its body
      return close({CloseReason::Reset, Party::Client}, true);
    case Pump::State::SinkFailed:  // the server may have answered nevertheless
    case Pump::State::Flowing:
    case Pump::State::BodyDone:
      break;
  }
  switch (down_.state()) {
    case Pump::State::Malformed:
      return close({CloseReason::Malformed, Party::Server}, true);
    case Pump::State::SinkFailed:
      return close({CloseReason::Reset, Party::Client, down_.sinkError()}, true);
    case Pump::State::SourceDone:
      if (!dialogue.untilEof) return close({CloseReason::Reset, Party::Server}, true);
      return endExchange();
    case Pump::State::BodyDone:
      return endExchange();
    case Pump::State::Flowing:
      break;
  }
  if (!dialogue.responding && !dialogue.asked && dialogue.fresh && !down_.wantsSink()) requestDecision();

  const auto interest = [](bool in, bool out) {
    return (in ? uint32_t{EPOLLIN} : 0) | (out ? uint32_t{EPOLLOUT} : 0);
  };
  const uint32_t ofClient = interest(up_.wantsSource(), down_.wantsSink());
  const uint32_t ofServer = interest(collectsResponse() || down_.wantsSource(), up_.wantsSink());
  watch(client_, ofClient != 0 || !client_.hungUp, ofClient);
  if (state_ == State::Exchanging) watch(server_, ofServer != 0, ofServer);
}

// The client has the whole response.
void Connection::endExchange() {
  discardUnread(server_, down_);
  dropServer();
  const bool next = dialogue_->next && up_.state() == Pump::State::BodyDone && !observer_.draining();
  std::string behind = up_.takeBehind();
  record_.bytesUp += up_.bytes();
  record_.bytesDown += down_.bytes();
  up_ = Pump();
  down_ = Pump();
  *dialogue_ = Dialogue();
  if (!next) return leave({CloseReason::Finished, Party::Server});
  state_ = State::Deciding;
  record_.phase = Phase::Deciding;
  record_.server = Address();
  record_.target = kNoTarget;
  dialogue_->later = true;
  dialogue_->bytes = std::move(behind);
  if (!dialogue_->bytes.empty()) {
    loop_.arm(deadline_, loop_.now() + timeouts_.head);
    return requestDecision();
  }
  activeAt_ = loop_.now();
  armQuietDeadline();
  watch(client_, true, EPOLLIN);
}

void Connection::dropServer() {
  server_.fd.reset();
  server_.watched = server_.hungUp = server_.keptAlive = false;
  server_.interest = 0;
}

// The client gets what it is still to be told, and time to hear it: a close with its bytes unread would
// be a reset to TCP, and could take the answer with it.
void Connection::leave(const Ending& ending) {
  if (!down_.wantsSink() && ending.reason != CloseReason::Finished) return close(ending, true);
  if (server_.fd) {
    resetOnClose(server_.fd.get());
    dropServer();
  }
  state_ = State::Leaving;
  dialogue_->ending = ending;
  dialogue_->ended = false;
  loop_.arm(deadline_, loop_.now() + kLinger);
  goOnLeaving();
}

void Connection::goOnLeaving() {
  if (down_.wantsSink()) down_.deliver(client_.fd.get());
  if (down_.state() == Pump::State::SinkFailed) return close(dialogue_->ending, true);
  if (!down_.wantsSink()) {
    if (dialogue_->ended) return close(dialogue_->ending, false);
    shutdownWrite(client_.fd.get());
  }
  const uint32_t in = dialogue_->ended ? 0 : uint32_t{EPOLLIN};
  const uint32_t out = down_.wantsSink() ? uint32_t{EPOLLOUT} : 0;
  watch(client_, true, in | out);
}

void Connection::onLeavingReady(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) {
    const Moved read = receive(client_.fd.get(), loop_.scratch().buffer(), loop_.scratch().bytes());
    if (read.error != 0 && read.error != EAGAIN) return close(dialogue_->ending, true);
    dialogue_->ended |= read.bytes == 0 && read.error == 0;
  }
  goOnLeaving();
}

void Connection::onDialogueDeadline() {
  Dialogue& dialogue = *dialogue_;
  const bool isIdle = state_ == State::Exchanging || (dialogue.later && dialogue.bytes.empty());
  if (state_ == State::Leaving) return close(dialogue.ending, down_.wantsSink());
  if (dialogue.kind == DecisionRequest::Kind::Failed) return close(dialogue.ending, true);
  if (dialogue.handshake) {
    const Ending late{CloseReason::ConnectTimeout, Party::Proxy, ETIMEDOUT};
    if (dialogue.asked) return close(late, true);
    dropServer();
    return failDial(late);
  }
  if (isIdle) {
    if (!checkQuiet()) armQuietDeadline();
    return;
  }
  close({dialogue.asked ? CloseReason::DecisionTimeout : CloseReason::HeadTimeout, Party::Proxy, ETIMEDOUT},
        false);
}

void Connection::endIfIdle() {
  if (state_ != State::Deciding || !dialogue_->later || !dialogue_->bytes.empty() || dialogue_->asked) return;
  close({CloseReason::Finished, Party::Proxy}, false);
}

}  // namespace vsock_proxy
