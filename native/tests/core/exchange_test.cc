// Connections that need decisions. The tests decide in place of the control plane.

#include <chrono>
#include <memory>

#include "../harness.h"

namespace {

using Kind = RequestKind;
using Action = Action;

// A TCP listener, so that clients see resets.
ListenSpec decidingSpec(ListenerKind kind = ListenerKind::DecideHead) {
  ListenSpec spec = tcpSpec();
  spec.kind = kind;
  return spec;
}

struct ControlPlane {
  explicit ControlPlane(const ListenSpec& with = decidingSpec()) {
    const Engine::Listening listening = plane.engine.listen(with);
    CHECK_EQ(listening.error, 0);
    id = listening.id;
    on = listening.on;
  }
  Peer client() const { return Peer::connect(on); }
  DecisionRequest expect(Kind kind, const std::string& bytes) {
    DecisionRequest request = plane.nextRequest();
    CHECK_EQ(static_cast<int>(request.kind), static_cast<int>(kind));
    if (request.bytes != bytes) check::fail(__FILE__, __LINE__, "request about: " + request.bytes);
    return request;
  }
  // Decides `more` until a request has all of these bytes.
  DecisionRequest expectInParts(Kind kind, const std::string& bytes) {
    for (;;) {
      DecisionRequest request = plane.nextRequest();
      CHECK_EQ(static_cast<int>(request.kind), static_cast<int>(kind));
      CHECK(bytes.compare(0, request.bytes.size(), request.bytes) == 0);
      if (request.bytes.size() == bytes.size()) return request;
      decide(request, Action::More);
    }
  }
  void decide(const DecisionRequest& request, Decision decision) {
    plane.engine.decide({{request.connection, std::move(decision)}});
  }
  void decide(const DecisionRequest& request, Action action) {
    Decision decision;
    decision.action = action;
    decide(request, std::move(decision));
  }
  CloseRecord closed(CloseReason reason) {
    const CloseRecord record = plane.nextClose();
    CHECK_EQ(static_cast<int>(record.reason), static_cast<int>(reason));
    return record;
  }
  void checkCounters(CloseReason reason, uint64_t count) {
    const ListenerCounters counters = plane.engine.counters().at(0);
    CHECK_EQ(counters.closed[static_cast<size_t>(reason)], count);
    CHECK_EQ(counters.active, 0);
  }

  Plane plane;
  Address on;
  ListenerId id = 0;
};

Addresses only(const Address& address) { return std::make_shared<const std::vector<Address>>(1, address); }

Decision connectTo(const Address& address, size_t consume = 0) {
  Decision decision;
  decision.action = Action::Connect;
  decision.target = 7;
  decision.addresses = only(address);
  decision.consume = consume;
  return decision;
}

Decision exchangeWith(const Address& address, size_t consume, Body body, const std::string& head = "HEAD;") {
  Decision decision = connectTo(address, consume);
  decision.action = Action::Exchange;
  decision.toServer = head;
  decision.body = body;
  return decision;
}

Decision respondWith(size_t consume, Body body, bool next, const std::string& head = "ANSWER;") {
  Decision decision;
  decision.action = Action::Respond;
  decision.consume = consume;
  decision.toClient = head;
  decision.body = body;
  decision.next = next;
  return decision;
}

Decision reject(CloseReason reason, const std::string& reply = "") {
  Decision decision;
  decision.reason = reason;
  decision.toClient = reply;
  return decision;
}

}  // namespace

TEST("a decision that does not fit ends the connection") {
  const Server server;
  Decision tooMuch = connectTo(server.address(), 6);
  Decision response = respondWith(0, Body::none(), false);
  Decision interim;
  interim.action = Action::Interim;
  for (const Decision& decision : {tooMuch, response, interim}) {
    ControlPlane control;
    const Peer client = control.client();
    client.write("hello");
    control.decide(control.expect(RequestKind::Head, "hello"), decision);
    CHECK_EQ(client.readError(), ECONNRESET);
    CHECK_EQ(control.closed(CloseReason::Internal).error, EPROTO);
    control.checkCounters(CloseReason::Internal, 1);
  }
}

TEST("a decision without a request, a late one and a second one change nothing") {
  ControlPlane control;
  const Server server;
  control.plane.engine.decide({{12345, connectTo(server.address())}});
  Peer client = control.client();
  client.write("hello");
  const DecisionRequest request = control.expect(RequestKind::Head, "hello");
  control.decide(request, connectTo(server.address()));
  control.decide(request, reject(CloseReason::Denied));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5) == "hello");
  client.close();
  CHECK(accepted.readAll().empty());
  accepted.endWriting();
  control.closed(CloseReason::Finished);
  control.decide(request, reject(CloseReason::Denied));
  control.checkCounters(CloseReason::Finished, 1);
}

TEST("a rejected client gets its reply and then an EOF, even if it sends on") {
  ControlPlane control;
  const Peer client = control.client();
  client.write("hello");
  const DecisionRequest request = control.expect(RequestKind::Head, "hello");
  client.write(std::string(100 * 1000, 'x'));
  control.decide(request, reject(CloseReason::Denied, "no, and why"));
  CHECK(client.readAll() == "no, and why");
  client.write(std::string(1000, 'x'));
  client.endWriting();
  const CloseRecord record = control.closed(CloseReason::Denied);
  CHECK_EQ(static_cast<int>(record.phase), static_cast<int>(Phase::Deciding));
  CHECK_EQ(record.bytesDown, 11);
}

TEST("a rejected client that does not leave is closed") {
  ControlPlane control;
  const Peer client = control.client();
  client.write("hello");
  control.decide(control.expect(RequestKind::Head, "hello"), reject(CloseReason::Denied, "no"));
  control.closed(CloseReason::Denied);
}

TEST("a rejected client without a reply is reset") {
  ControlPlane control;
  const Peer client = control.client();
  client.write("hello");
  control.decide(control.expect(RequestKind::Head, "hello"), reject(CloseReason::Malformed));
  CHECK_EQ(client.readError(), ECONNRESET);
  control.closed(CloseReason::Malformed);
}

TEST("a client that sends nothing or too little, or gets no decision, ends at the head deadline") {
  ListenSpec spec = decidingSpec();
  spec.timeouts.head = kSecond / 2;
  ControlPlane control(spec);
  const Peer silent = control.client();
  CHECK(silent.readAll().empty());
  control.closed(CloseReason::HeadTimeout);
  const Peer slow = control.client();
  slow.write("hel");
  control.decide(control.expect(RequestKind::Head, "hel"), Action::More);
  control.closed(CloseReason::HeadTimeout);
  const Peer unanswered = control.client();
  unanswered.write("hello");
  const DecisionRequest request = control.expect(RequestKind::Head, "hello");
  control.closed(CloseReason::DecisionTimeout);
  control.checkCounters(CloseReason::HeadTimeout, 2);
  control.checkCounters(CloseReason::DecisionTimeout, 1);
  control.decide(request, reject(CloseReason::Denied));
}

TEST("a client that leaves before it has sent anything has finished") {
  ControlPlane control;
  control.client().close();
  CHECK_EQ(static_cast<int>(control.closed(CloseReason::Finished).endedBy), static_cast<int>(Party::Client));
}

TEST("a client that leaves within a head: the request has its end, and `more` means malformed then") {
  ControlPlane control;
  const Peer client = control.client();
  client.write("hel");
  client.endWriting();
  DecisionRequest request = control.plane.nextRequest();
  if (!request.ended) {
    control.decide(request, Action::More);
    request = control.plane.nextRequest();
  }
  CHECK(request.ended && request.bytes == "hel");
  control.decide(request, Action::More);
  control.closed(CloseReason::Malformed);
}

TEST("a head grows with each request, up to its limit") {
  ControlPlane control;
  const Peer client = control.client();
  std::string sent;
  for (const char* part : {"a", "bc", "def"}) {
    client.write(part);
    sent += part;
    control.decide(control.expect(RequestKind::Head, sent), Action::More);
  }
  client.write(std::string(kRequestHeadBytes, 'x'));
  sent.append(kRequestHeadBytes - sent.size(), 'x');
  control.decide(control.expectInParts(RequestKind::Head, sent), Action::More);
  control.closed(CloseReason::Malformed);
}

TEST("the next request about a head waits for a number of bytes, or for a certain byte") {
  ControlPlane control;
  const Peer client = control.client();
  client.write("ab");
  Decision more;
  more.action = Action::More;
  more.atLeast = 5;
  control.decide(control.expect(RequestKind::Head, "ab"), more);
  client.write("c");
  client.write("de");
  more.atLeast = 0;
  more.until = ';';
  control.decide(control.expect(RequestKind::Head, "abcde"), more);
  for (int i = 0; i < 100; ++i) client.write("x");
  client.write(";");
  std::string all = "abcde" + std::string(100, 'x') + ";";
  control.decide(control.expect(RequestKind::Head, all), more);
  client.write("and the end");
  client.endWriting();
  DecisionRequest request = control.plane.nextRequest();
  CHECK(request.ended);
  CHECK(request.bytes == all + "and the end");
  control.decide(request, reject(CloseReason::Malformed));
  control.closed(CloseReason::Malformed);
}

TEST("bytes behind a request are limited like a head, and `more` beyond the limit ends the connection") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;");
  control.decide(control.expect(RequestKind::Head, "head;"),
                 exchangeWith(server.address(), 5, Body::chunked()));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  std::thread writer([&] {
    int error = 0;
    const std::string data = "0\r\n\r\n" + std::string(100 * 1000, 'x');
    for (size_t sent = 0; sent < data.size() && error == 0;) {
      error = client.tryWrite(data, sent);
    }
  });
  CHECK(accepted.read(5) == "0\r\n\r\n");
  accepted.write("s;");
  control.decide(control.expectInParts(RequestKind::Response, "s;"), respondWith(2, Body::none(), true));
  for (;;) {
    const DecisionRequest request = control.plane.nextRequest();
    CHECK(request.bytes.size() <= kRequestHeadBytes);
    control.decide(request, Action::More);
    if (request.bytes.size() == kRequestHeadBytes) break;
  }
  control.closed(CloseReason::Malformed);
  writer.join();
}

TEST("connect: bytes that are not consumed go to the server, behind the bytes of the decision") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("CONNECT;early");
  Decision decision = connectTo(server.address(), 8);
  decision.toServer = "from the proxy;";
  decision.toClient = "go on;";
  control.decide(control.expect(RequestKind::Head, "CONNECT;early"), decision);
  const Peer accepted = server.accept();
  CHECK(accepted.read(20) == "from the proxy;early");
  CHECK(client.read(6) == "go on;");
  client.write(" and later");
  client.endWriting();
  CHECK(accepted.readAll() == " and later");
  accepted.write("decide");
  accepted.endWriting();
  CHECK(client.readAll() == "decide");
  const CloseRecord record = control.closed(CloseReason::Finished);
  CHECK_EQ(record.target, 7);
  CHECK_EQ(record.bytesUp, 30);
  CHECK_EQ(record.bytesDown, 12);
  const Progress connected = [&] {
    for (;;) {
      const Progress step = control.plane.next<Progress>();
      if (step.step == Step::Connected) return step;
    }
  }();
  CHECK_EQ(connected.target, 7);
}

TEST("connect: a client that has half-closed already gets its answer") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("all of it");
  client.endWriting();
  control.decide(control.expectInParts(RequestKind::Head, "all of it"), connectTo(server.address()));
  const Peer accepted = server.accept();
  CHECK(accepted.readAll() == "all of it");
  accepted.write("decide");
  accepted.endWriting();
  CHECK(client.readAll() == "decide");
  control.closed(CloseReason::Finished);
}

TEST("connect: after a head, large data goes both ways without loss") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  const std::string up = pattern(5 << 20, 1);
  const std::string down = pattern(5 << 20, 2);
  std::thread writer([&] {
    client.write("head;" + up);
    client.endWriting();
  });
  DecisionRequest request = control.plane.nextRequest();
  control.decide(request, connectTo(server.address(), 5));
  const Peer accepted = server.accept();
  std::thread answering([&] {
    accepted.write(down);
    accepted.endWriting();
  });
  std::thread reading([&] { CHECK(accepted.readAll() == up); });
  CHECK(client.readAll() == down);
  writer.join();
  answering.join();
  reading.join();
  control.closed(CloseReason::Finished);
}

TEST("a failure to connect: with `explain` there is one more request, else the connection ends") {
  const Server refusing("127.0.0.1", -1);
  ControlPlane control;
  const Peer client = control.client();
  client.write("hello");
  Decision decision = connectTo(refusing.address());
  control.decide(control.expect(RequestKind::Head, "hello"), decision);
  CHECK_EQ(client.readError(), ECONNRESET);
  CHECK_EQ(control.closed(CloseReason::ConnectFailed).error, ECONNREFUSED);

  const Peer other = control.client();
  other.write("hello");
  decision.explain = true;
  decision.toClient = "connected;";  // which it never will be
  control.decide(control.expect(RequestKind::Head, "hello"), decision);
  const DecisionRequest failed = control.plane.nextRequest();
  CHECK_EQ(static_cast<int>(failed.kind), static_cast<int>(RequestKind::Failed));
  CHECK_EQ(static_cast<int>(failed.reason), static_cast<int>(CloseReason::ConnectFailed));
  CHECK_EQ(failed.error, ECONNREFUSED);
  CHECK_EQ(failed.target, 7);
  CHECK_EQ(failed.server.port(), refusing.address().port());
  control.decide(failed, reject(CloseReason::ConnectFailed, "refused"));
  CHECK(other.readAll() == "refused");
  other.endWriting();
  const CloseRecord record = control.closed(CloseReason::ConnectFailed);
  CHECK_EQ(record.error, ECONNREFUSED);
  CHECK_EQ(static_cast<int>(record.endedBy), static_cast<int>(Party::Server));
}

TEST("a failure to connect: no addresses, and a deadline, make a request, too") {
  ListenSpec spec = decidingSpec();
  spec.timeouts.connect = kSecond / 2;
  ControlPlane control(spec);
  Peer client = control.client();
  client.write("hello");
  Decision decision = connectTo(Address());
  decision.explain = true;
  decision.addresses = std::make_shared<const std::vector<Address>>();
  control.decide(control.expect(RequestKind::Head, "hello"), decision);
  const DecisionRequest none = control.expect(RequestKind::Failed, "");
  CHECK_EQ(static_cast<int>(none.reason), static_cast<int>(CloseReason::NoUpstream));
  CHECK_EQ(none.server.family(), AF_UNSPEC);
  client.close();
  control.decide(none, reject(CloseReason::NoUpstream, "nowhere"));
  control.closed(CloseReason::NoUpstream);

  const Server silent("127.0.0.1", 0);
  const Peer first = Peer::connect(silent.address());  // fills its queue
  const Peer waiting = control.client();
  waiting.write("hello");
  decision.addresses = only(silent.address());
  control.decide(control.expect(RequestKind::Head, "hello"), decision);
  const DecisionRequest late = control.expect(RequestKind::Failed, "");
  CHECK_EQ(static_cast<int>(late.reason), static_cast<int>(CloseReason::ConnectTimeout));
  control.decide(late, Action::More);
  CHECK_EQ(control.closed(CloseReason::Internal).error, EPROTO);
}

TEST("the request about a client comes before its first byte, with the address that it connected to") {
  ControlPlane control(decidingSpec(ListenerKind::DecideClient));
  const Server server;
  const Peer client = control.client();
  const DecisionRequest request = control.expect(RequestKind::Client, "");
  CHECK_EQ(request.local.port(), control.on.port());
  CHECK(request.client.ip() == "127.0.0.1");
  Decision decision = connectTo(server.address());
  decision.toServer = "PROXY;";
  control.decide(request, decision);
  const Peer accepted = server.accept();
  accepted.write("server speaks first");
  CHECK(accepted.read(6) == "PROXY;");
  CHECK(client.read(19) == "server speaks first");
  client.endWriting();
  accepted.endWriting();
  control.closed(CloseReason::Finished);
}

TEST("a handshake: the client's bytes wait until the server has agreed") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;early");
  Decision decision = connectTo(server.address(), 5);
  decision.toServer = "agree?";
  decision.handshake = true;
  control.decide(control.expect(RequestKind::Head, "head;early"), decision);
  const Peer accepted = server.accept();
  CHECK(accepted.read(6) == "agree?");
  client.write(" bird");
  accepted.write("wait;");
  control.decide(control.expect(RequestKind::Response, "wait;"), Action::More);
  accepted.write("yes;and more");
  const DecisionRequest request = control.expect(RequestKind::Response, "wait;yes;and more");
  CHECK(!accepted.readable());
  Decision relay;
  relay.action = Action::Relay;
  relay.consume = 9;
  relay.toClient = "go;";
  control.decide(request, relay);
  CHECK(accepted.read(10) == "early bird");
  CHECK(client.read(11) == "go;and more");
  client.endWriting();
  CHECK(accepted.readAll().empty());
  accepted.write("!");
  accepted.endWriting();
  CHECK(client.readAll() == "!");
  control.closed(CloseReason::Finished);
}

TEST("a handshake: a server that refuses, ends or cannot be reached makes a request") {
  ControlPlane control;
  const Server server;
  const Server refusing("127.0.0.1", -1);
  const auto begin = [&](const Address& address) {
    Peer client = control.client();
    client.write("head;");
    Decision decision = connectTo(address, 5);
    decision.toServer = "agree?";
    decision.handshake = true;
    control.decide(control.expect(RequestKind::Head, "head;"), decision);
    return client;
  };
  const Peer unlucky = begin(refusing.address());
  control.decide(control.expect(RequestKind::Failed, ""), reject(CloseReason::ConnectFailed, "refused"));
  CHECK(unlucky.readAll() == "refused");
  control.closed(CloseReason::ConnectFailed);

  const Peer left = begin(server.address());
  server.accept().close();
  const DecisionRequest ended = control.expect(RequestKind::Response, "");
  CHECK(ended.ended);
  control.decide(ended, reject(CloseReason::Malformed, "gone"));
  CHECK(left.readAll() == "gone");
  control.closed(CloseReason::Malformed);

  const Peer denied = begin(server.address());
  const Peer accepted = server.accept();
  accepted.write("no;");
  control.decide(control.expect(RequestKind::Response, "no;"),
                 reject(CloseReason::ConnectFailed, "it said no"));
  CHECK(denied.readAll() == "it said no");
  control.closed(CloseReason::ConnectFailed);
}

TEST("a handshake: the response of a server that refuses is the last that the client gets") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;early");
  Decision decision = connectTo(server.address(), 5);
  decision.toServer = "agree?";
  decision.handshake = true;
  control.decide(control.expect(RequestKind::Head, "head;early"), decision);
  const Peer accepted = server.accept();
  CHECK(accepted.read(6) == "agree?");
  accepted.write("soon;no;1234");
  Decision interim;
  interim.action = Action::Interim;
  interim.consume = 5;
  interim.toClient = "SOON;";
  control.decide(control.expect(RequestKind::Response, "soon;no;1234"), interim);
  control.decide(control.expect(RequestKind::Response, "no;1234"), respondWith(3, Body::length(6), true));
  client.write("never");
  accepted.write("56");
  CHECK(client.readAll() == "SOON;ANSWER;123456");
  CHECK(accepted.readAll().empty());
  control.closed(CloseReason::Finished);
}

TEST("a handshake: a silent server makes a request after the deadlines of connect and head together") {
  ListenSpec spec = decidingSpec();
  spec.timeouts.connect = kSecond / 2;
  spec.timeouts.head = kSecond / 2;
  ControlPlane control(spec);
  const Server server;
  const Peer client = control.client();
  client.write("head;");
  Decision decision = connectTo(server.address(), 5);
  decision.toServer = "agree?";
  decision.handshake = true;
  const DecisionRequest request = control.expect(RequestKind::Head, "head;");
  const auto decided = std::chrono::steady_clock::now();
  control.decide(request, decision);
  const Peer accepted = server.accept();
  CHECK(accepted.read(6) == "agree?");
  const DecisionRequest late = control.expect(RequestKind::Failed, "");
  CHECK(std::chrono::steady_clock::now() - decided > std::chrono::milliseconds(900));
  CHECK_EQ(static_cast<int>(late.reason), static_cast<int>(CloseReason::ConnectTimeout));
  control.decide(late, reject(CloseReason::ConnectTimeout, "late"));
  CHECK(client.readAll() == "late");
  control.closed(CloseReason::ConnectTimeout);
}

TEST("an exchange: endless interim responses end the connection") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;");
  control.decide(control.expect(RequestKind::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  Decision interim;
  interim.action = Action::Interim;
  interim.consume = 1;
  interim.toClient = "go on;";
  accepted.write(std::string(100, '1'));
  for (int i = 0; i < 17; ++i) control.decide(control.plane.nextRequest(), interim);
  CHECK_EQ(static_cast<int>(control.closed(CloseReason::Malformed).endedBy), static_cast<int>(Party::Server));
}

TEST("an exchange: one request, one response, and the next request on the same connection") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  for (int round = 0; round < 3; ++round) {
    client.write("head;body!");
    control.decide(control.expectInParts(RequestKind::Head, "head;body!"),
                   exchangeWith(server.address(), 5, Body::length(5)));
    const Peer accepted = server.accept();
    CHECK(accepted.read(10) == "HEAD;body!");
    accepted.write("status;12345678");
    control.decide(control.expectInParts(RequestKind::Response, "status;12345678"),
                   respondWith(7, Body::length(8), true));
    CHECK(client.read(15) == "ANSWER;12345678");
    CHECK(accepted.readAll().empty());
  }
  client.endWriting();
  const CloseRecord record = control.closed(CloseReason::Finished);
  CHECK_EQ(record.bytesUp, 30);
  CHECK_EQ(record.bytesDown, 45);
}

TEST(
    "an exchange: pipelined requests are decided one by one, and none reaches the server before its "
    "decision") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("one;two;three;");
  DecisionRequest request = control.expect(RequestKind::Head, "one;two;three;");
  const size_t sizes[] = {4, 4, 6};
  const char* rests[] = {"two;three;", "three;", ""};
  for (int i = 0; i < 3; ++i) {
    control.decide(request, exchangeWith(server.address(), sizes[i], Body::none()));
    const Peer accepted = server.accept();
    CHECK(accepted.read(5) == "HEAD;");
    CHECK(!accepted.readable());
    accepted.write("s;");
    control.decide(control.expectInParts(RequestKind::Response, "s;"), respondWith(2, Body::none(), true));
    CHECK(client.read(7) == "ANSWER;");
    if (i < 2) request = control.expect(RequestKind::Head, rests[i]);
  }
  client.endWriting();
  control.closed(CloseReason::Finished);
}

TEST("an exchange: chunked bodies in both directions, cut at every byte") {
  const std::string chunks = "5\r\nhello\r\n3;x\r\nabc\r\n0\r\nTrailer: t\r\n\r\n";
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  for (size_t cut = 0; cut <= chunks.size(); ++cut) {
    client.write("head;" + chunks.substr(0, cut));
    DecisionRequest request = control.plane.nextRequest();
    control.decide(request, exchangeWith(server.address(), 5, Body::chunked()));
    const Peer accepted = server.accept();
    CHECK(accepted.read(5 + cut) == "HEAD;" + chunks.substr(0, cut));
    client.write(chunks.substr(cut));
    CHECK(accepted.read(chunks.size() - cut) == chunks.substr(cut));
    accepted.write("status;" + chunks.substr(0, cut));
    control.decide(control.expectInParts(RequestKind::Response, "status;" + chunks.substr(0, cut)),
                   respondWith(7, Body::chunked(), true));
    CHECK(client.read(7 + cut) == "ANSWER;" + chunks.substr(0, cut));
    accepted.write(chunks.substr(cut) + "unexpected bytes");
    CHECK(client.read(chunks.size() - cut) == chunks.substr(cut));
  }
  client.endWriting();
  control.closed(CloseReason::Finished);
}

TEST("an exchange: malformed chunks end it, and the server sees no complete body") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;5\r\nhel");
  control.decide(control.expect(RequestKind::Head, "head;5\r\nhel"),
                 exchangeWith(server.address(), 5, Body::chunked()));
  const Peer accepted = server.accept();
  CHECK(accepted.read(11) == "HEAD;5\r\nhel");
  client.write("loX\r\n0\r\n\r\n");
  CHECK_EQ(accepted.readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(control.closed(CloseReason::Malformed).endedBy), static_cast<int>(Party::Client));

  const Peer other = control.client();
  other.write("head;");
  control.decide(control.expect(RequestKind::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  const Peer broken = server.accept();
  broken.write("status;5\r\nhelloX");
  control.decide(control.expectInParts(RequestKind::Response, "status;5\r\nhelloX"),
                 respondWith(7, Body::chunked(), true));
  CHECK_EQ(other.readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(control.closed(CloseReason::Malformed).endedBy), static_cast<int>(Party::Server));
}

TEST("an exchange: a request that breaks off is reset, not completed") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;hel");
  control.decide(control.expect(RequestKind::Head, "head;hel"),
                 exchangeWith(server.address(), 5, Body::length(5)));
  const Peer accepted = server.accept();
  client.endWriting();
  CHECK_EQ(accepted.readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(control.closed(CloseReason::Reset).endedBy), static_cast<int>(Party::Client));
}

TEST("an exchange: a response that breaks off is reset, not completed") {
  const auto breakOff = [](bool reset, Body body) {
    ControlPlane control;
    const Server server;
    const Peer client = control.client();
    client.write("head;");
    control.decide(control.expect(RequestKind::Head, "head;"),
                   exchangeWith(server.address(), 5, Body::none()));
    Peer accepted = server.accept();
    CHECK(accepted.read(5) == "HEAD;");
    accepted.write("status;5\r\nhel");
    control.decide(control.expectInParts(RequestKind::Response, "status;5\r\nhel"),
                   respondWith(7, body, true));
    CHECK(client.read(13) == "ANSWER;5\r\nhel");
    if (reset)
      accepted.reset();
    else
      accepted.close();
    CHECK_EQ(client.readError(), ECONNRESET);
    CHECK_EQ(static_cast<int>(control.closed(CloseReason::Reset).endedBy), static_cast<int>(Party::Server));
  };
  breakOff(false, Body::length(100));
  breakOff(false, Body::chunked());
  breakOff(true, Body::length(100));
  breakOff(true, Body::chunked());
}

TEST("an exchange: a response up to the server's EOF ends the connection") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;");
  control.decide(control.expect(RequestKind::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  const std::string down = pattern(1 << 20, 3);
  accepted.write("status;");
  Decision decision = respondWith(7, Body::none(), false);
  decision.untilEof = true;
  control.decide(control.expectInParts(RequestKind::Response, "status;"), decision);
  std::thread writer([&] {
    accepted.write(down);
    accepted.close();
  });
  CHECK(client.readAll() == "ANSWER;" + down);
  writer.join();
  client.endWriting();
  control.closed(CloseReason::Finished);
}

TEST("an exchange: a reset within a response up to the EOF is a reset") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;");
  control.decide(control.expect(RequestKind::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  accepted.write("status;");
  const DecisionRequest request = control.expectInParts(RequestKind::Response, "status;");
  Decision decision = respondWith(7, Body::none(), false);
  decision.untilEof = true;
  control.decide(request, decision);
  CHECK(client.read(7) == "ANSWER;");
  accepted.reset();
  CHECK_EQ(client.readError(), ECONNRESET);
  control.closed(CloseReason::Reset);
}

TEST("an exchange: a reset within a response up to the EOF is a reset, also if the write of a body gets it") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;");
  control.decide(control.expect(RequestKind::Head, "head;"),
                 exchangeWith(server.address(), 5, Body::length(SIZE_MAX)));
  Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  accepted.write("status;");
  Decision decision = respondWith(7, Body::none(), false);
  decision.untilEof = true;
  control.decide(control.expectInParts(RequestKind::Response, "status;"), decision);
  CHECK(client.read(7) == "ANSWER;");
  // The body fills every buffer on its way: the proxy waits until the server takes more.
  const std::string body = pattern(1 << 20, 4);
  for (size_t sent = 0; client.writable(50); sent %= body.size()) client.tryWrite(body, sent);
  accepted.reset();
  CHECK_EQ(client.readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(control.closed(CloseReason::Reset).endedBy), static_cast<int>(Party::Server));
}

TEST("an exchange: interim responses come before the final one") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;");
  control.decide(control.expect(RequestKind::Head, "head;"),
                 exchangeWith(server.address(), 5, Body::length(4)));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  accepted.write("100;200;");
  Decision interim;
  interim.action = Action::Interim;
  interim.consume = 4;
  interim.toClient = "continue;";
  control.decide(control.expectInParts(RequestKind::Response, "100;200;"), interim);
  const DecisionRequest request = control.expect(RequestKind::Response, "200;");
  CHECK(client.read(9) == "continue;");
  client.write("body");
  CHECK(accepted.read(4) == "body");
  control.decide(request, respondWith(4, Body::none(), true));
  CHECK(client.read(7) == "ANSWER;");
  client.endWriting();
  control.closed(CloseReason::Finished);
}

TEST(
    "an exchange: a server that ends without an answer, or with a broken one, makes a request that has its "
    "end") {
  for (const bool reset : {false, true}) {
    ControlPlane control;
    const Server server;
    const Peer client = control.client();
    client.write("head;");
    control.decide(control.expect(RequestKind::Head, "head;"),
                   exchangeWith(server.address(), 5, Body::none()));
    Peer accepted = server.accept();
    CHECK(accepted.read(5) == "HEAD;");
    if (reset)
      accepted.reset();
    else
      accepted.close();
    const DecisionRequest request = control.expect(RequestKind::Response, "");
    CHECK(request.ended);
    control.decide(request, reject(CloseReason::Malformed, "bad gateway"));
    CHECK(client.readAll() == "bad gateway");
    client.endWriting();
    CHECK_EQ(static_cast<int>(control.closed(CloseReason::Malformed).endedBy),
             static_cast<int>(Party::Server));
  }
}

TEST("an exchange: a server that answers before it has the whole request gets no further request") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  client.write("head;he");
  control.decide(control.expect(RequestKind::Head, "head;he"),
                 exchangeWith(server.address(), 5, Body::length(5)));
  const Peer accepted = server.accept();
  accepted.write("413;");
  control.decide(control.expectInParts(RequestKind::Response, "413;"), respondWith(4, Body::none(), true));
  CHECK(client.readAll() == "ANSWER;");
  client.write("llo");
  client.endWriting();
  control.closed(CloseReason::Finished);
}

TEST("an exchange: a client that leaves while the server thinks ends it") {
  ControlPlane control;
  const Server server;
  Peer client = control.client();
  client.write("head;");
  control.decide(control.expect(RequestKind::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  client.reset();
  CHECK_EQ(accepted.readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(control.closed(CloseReason::Reset).endedBy), static_cast<int>(Party::Client));
}

TEST("an exchange: large bodies reach slow readers without loss") {
  ControlPlane control;
  const Server server;
  const Peer client = control.client();
  const std::string up = pattern(3 << 20, 4);
  const std::string down = pattern(3 << 20, 5);
  std::thread writer([&] { client.write("head;" + up); });
  DecisionRequest request = control.plane.nextRequest();
  control.decide(request, exchangeWith(server.address(), 5, Body::length(up.size())));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5 + up.size()) == "HEAD;" + up);
  writer.join();
  std::thread answering([&] { accepted.write("status;" + down); });
  const DecisionRequest response = control.plane.nextRequest();
  control.decide(response, respondWith(7, Body::length(down.size()), true));
  CHECK(client.read(7 + down.size()) == "ANSWER;" + down);
  answering.join();
  client.endWriting();
  control.closed(CloseReason::Finished);
}

TEST("an exchange: the idle deadline holds, while the server thinks and between requests") {
  const Server server;
  {
    ListenSpec spec = decidingSpec();
    spec.timeouts.idle = kSecond / 20;
    ControlPlane control(spec);
    const Peer client = control.client();
    client.write("head;");
    control.decide(control.expect(RequestKind::Head, "head;"),
                   exchangeWith(server.address(), 5, Body::none()));
    const Peer accepted = server.accept();
    control.closed(CloseReason::IdleTimeout);
  }
  ListenSpec spec = decidingSpec();
  spec.timeouts.idle = 2 * kSecond;  // the server answers before
  ControlPlane control(spec);
  const Peer client = control.client();
  client.write("head;");
  control.decide(control.expect(RequestKind::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  const Peer accepted = server.accept();
  accepted.write("s;");
  control.decide(control.expectInParts(RequestKind::Response, "s;"), respondWith(2, Body::none(), true));
  CHECK(client.readAll() == "ANSWER;");
  control.closed(CloseReason::IdleTimeout);
}

namespace {

const std::string kGet = "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n";
const std::string kWritten = "GET / HTTP/1.1\r\nHost: a.example\r\nVia: 1.1 vsock-proxy\r\n\r\n";
const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const std::string kPassed =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVia: 1.1 vsock-proxy\r\nConnection: keep-alive\r\n\r\nok";

// A client whose GETs a cached decision covers, and its server.
struct Cached {
  explicit Cached(Micros reuse = 10 * kSecond, Micros lasts = 10 * kSecond) : control(specWith(reuse)) {
    client.write(kGet);
    Decision decision = exchangeWith(server.address(), kGet.size(), Body::none(), kWritten);
    decision.persistent = true;
    decision.cache.byAuthority = true;
    decision.cache.lasts = lasts;
    control.decide(control.expect(RequestKind::Head, kGet), decision);
    accepted = std::make_unique<Peer>(server.accept());
    CHECK(accepted->read(kWritten.size()) == kWritten);
    accepted->write("s;ok");
    Decision response = respondWith(2, Body::length(2), true);
    response.keep = true;
    control.decide(control.expectInParts(RequestKind::Response, "s;ok"), response);
    CHECK(client.read(9) == "ANSWER;ok");
  }
  static ListenSpec specWith(Micros reuse) {
    ListenSpec spec = decidingSpec();
    spec.timeouts.reuse = reuse;
    return spec;
  }
  void exchange(const Peer& with) const {
    CHECK(with.read(kWritten.size()) == kWritten);
    with.write(kOk);
    CHECK(client.read(kPassed.size()) == kPassed);
  }

  const Server server;
  ControlPlane control;
  Peer client = control.client();
  std::unique_ptr<Peer> accepted;
};

}  // namespace

TEST("a kept server: requests that come together, or while it thinks, are answered in order") {
  const Cached cached;
  std::string all;
  for (int i = 0; i < 50; ++i) all += kGet;
  cached.client.write(all);
  for (int i = 0; i < 50; ++i) cached.exchange(*cached.accepted);
  cached.client.write(kGet);
  CHECK(cached.accepted->read(kWritten.size()) == kWritten);
  cached.client.write(kGet);
  cached.accepted->write(kOk);
  CHECK(cached.client.read(kPassed.size()) == kPassed);
  cached.exchange(*cached.accepted);
}

TEST("after a reset or end of a kept server at the request, the proxy connects once more") {
  for (const bool resets : {false, true}) {
    const Cached cached;
    cached.client.write(kGet + kGet);
    CHECK(cached.accepted->read(kWritten.size()) == kWritten);
    resets ? cached.accepted->reset() : cached.accepted->close();
    const Peer second = cached.server.accept();
    cached.exchange(second);
    cached.exchange(second);
  }
}

TEST("a kept server that has gone, or sends bytes unasked, is not used again") {
  for (const char* what : {"", "HTTP/1.1 200 OK\r\n\r\n"}) {
    const Cached cached;
    cached.accepted->write(what);
    if (*what == 0) cached.accepted->reset();
    cached.client.write(kGet);
    cached.exchange(cached.server.accept());
  }
}

TEST("a kept server is closed with its client, and at its deadline") {
  Cached cached;
  cached.client.close();
  CHECK(cached.accepted->readAll().empty());
  cached.control.closed(CloseReason::Finished);

  const Cached brief(kSecond / 20);
  CHECK(brief.accepted->readAll().empty());
  brief.client.write(kGet);
  brief.exchange(brief.server.accept());
}

TEST("a kept server: a client that has half-closed gets its response") {
  Cached cached;
  cached.client.write(kGet);
  cached.client.endWriting();
  cached.exchange(*cached.accepted);
  CHECK(cached.client.readAll().empty());
  CHECK(cached.accepted->readAll().empty());
  cached.control.closed(CloseReason::Finished);
}

TEST("an exchange by a cached decision: a response that is not plain comes with the request") {
  Cached cached;
  cached.client.write(kGet);
  CHECK(cached.accepted->read(kWritten.size()) == kWritten);
  cached.accepted->write("HTTP/1.1 204 No Content\r\n\r\n");
  const DecisionRequest request =
      cached.control.expectInParts(RequestKind::Response, "HTTP/1.1 204 No Content\r\n\r\n");
  CHECK(request.head == kGet);
  cached.control.decide(request, respondWith(27, Body::none(), true));
  CHECK(cached.client.read(7) == "ANSWER;");
  // The server was not kept.
  CHECK(cached.accepted->readAll().empty());
}

TEST("a drain ends clients between two requests at once, and finishes running requests") {
  ControlPlane control;
  const Server server;
  const Peer idle = control.client();
  const Peer busy = control.client();
  const auto request = [&](const Peer& client) {
    client.write("head;");
    control.decide(control.expect(RequestKind::Head, "head;"),
                   exchangeWith(server.address(), 5, Body::none()));
    return server.accept();
  };
  const auto respond = [&](const Peer& accepted) {
    accepted.write("s;");
    control.decide(control.expectInParts(RequestKind::Response, "s;"), respondWith(2, Body::none(), true));
  };
  respond(request(idle));
  CHECK(idle.read(7) == "ANSWER;");
  const Peer accepted = request(busy);
  control.plane.engine.drain(10 * kSecond);
  CHECK(idle.readAll().empty());
  respond(accepted);
  CHECK(busy.readAll() == "ANSWER;");
  busy.endWriting();
  CHECK_EQ(control.plane.next<Drained>().aborted, 0);
}

TEST("a client that may not connect is refused, and a fault reports such clients once a second") {
  ListenSpec spec = tcpSpec();
  spec.admission.sources = {{Address::tcp("127.0.0.2", 0), 32}, {Address::tcp("10.0.0.0", 0), 8}};
  ControlPlane control(spec);
  for (int i = 0; i < 5; ++i) CHECK_EQ(control.client().readError(), ECONNRESET);
  const Fault fault = control.plane.nextFault();
  CHECK_EQ(static_cast<int>(fault.kind), static_cast<int>(FaultKind::NotAdmitted));
  CHECK(fault.client.ip() == "127.0.0.1");
  CHECK_EQ(control.plane.pending(), 0);
  control.checkCounters(CloseReason::NotAdmitted, 5);
}

TEST("a client without a CID is refused where CIDs are listed") {
  ListenSpec spec = tcpSpec();
  spec.admission.cids = {{16}};
  ControlPlane control(spec);
  CHECK_EQ(control.client().readError(), ECONNRESET);
  control.plane.nextFault();
}

TEST("sources: a prefix covers its addresses, to the bit") {
  const auto covers = [](const char* network, unsigned bits, const char* ip) {
    Admission admission;
    admission.sources = {{Address::tcp(network, 0), bits}};
    return admission.admits(Address::tcp(ip, 1234));
  };
  CHECK(!covers("10.0.0.0", 8, "11.0.0.0"));
  CHECK(!covers("10.0.0.0", 31, "10.0.0.2"));
  CHECK(!covers("2001:db8::", 33, "2001:db8:8000::1"));
  CHECK(!covers("::", 0, "10.0.0.1"));
  CHECK(!covers("0.0.0.0", 0, "::1"));
  CHECK(covers("0.0.0.0", 0, "255.255.255.255"));
  CHECK(covers("::", 0, "2001:db8::1"));
  CHECK(covers("10.0.0.0", 31, "10.0.0.1"));
  CHECK(covers("10.1.2.3", 32, "10.1.2.3"));
  CHECK(covers("2001:db8::", 33, "2001:db8:7fff::1"));
  CHECK(covers("2001:db8::1", 128, "2001:db8::1"));
}

TEST("one client at its limit is refused, another is served") {
  ListenSpec spec = tcpSpec();
  spec.limits.connectionsPerClient = 2;
  ControlPlane control(spec);
  const Server server;
  control.plane.engine.setUpstream(control.id, {server.address()});
  Peer one = control.client();
  Peer first = server.accept();
  const Peer two = control.client();
  const Peer second = server.accept();
  CHECK_EQ(control.client().readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(control.plane.nextFault().kind), static_cast<int>(FaultKind::ClientLimit));
  const Peer other = Peer::connectFrom("127.0.0.9", control.on);
  const Peer third = server.accept();
  one.close();
  first.close();
  control.closed(CloseReason::Finished);
  const Peer again = control.client();
  server.accept().write("welcome");
  CHECK(again.read(7) == "welcome");
  CHECK_EQ(control.plane.engine.counters().at(0).closed[static_cast<size_t>(CloseReason::ClientLimit)], 1);
}

TEST("a client that connects too often is refused, another is served") {
  ListenSpec spec = tcpSpec();
  spec.limits.ratePerClient = 1;
  ControlPlane control(spec);
  const Server server;
  control.plane.engine.setUpstream(control.id, {server.address()});
  const Peer first = control.client();
  const Peer accepted = server.accept();
  int refused = 0;  // at least one of many that come one after the other
  for (int i = 0; i < 20 && refused == 0; ++i) {
    const Peer client = control.client();
    int error = 0;
    client.endWriting();
    client.read(1, &error);
    if (error != 0) ++refused;
  }
  CHECK(refused > 0);
  CHECK_EQ(static_cast<int>(control.plane.nextFault().kind), static_cast<int>(FaultKind::ClientRate));
  const Peer other = Peer::connectFrom("127.0.0.9", control.on);
  other.write("me");
  while (server.accept().read(2) != "me") continue;  // past those that were served
}

TEST("an inherited socket is listened on, and stays open for its maker") {
  Opened opened = listenOn(Address::unixPath(kSocketPath));
  CHECK(opened.fd);
  Plane plane;
  ListenSpec inherited = spec(Address());
  inherited.inherited = opened.fd.get();
  const Engine::Listening listening = plane.engine.listen(inherited);
  CHECK_EQ(listening.error, 0);
  CHECK(listening.on.path() == kSocketPath);
  const Server server;
  plane.engine.setUpstream(listening.id, {server.address()});
  const Peer client = Peer::connect(listening.on);
  server.accept().write("welcome");
  CHECK(client.read(7) == "welcome");
  plane.engine.closeListener(listening.id);
  plane.engine.drain(0);
  plane.next<Drained>();
  const Peer waiting = Peer::connect(listening.on);
  CHECK(hasWaiting(opened.fd.get()));
  removeSocketFile(listening.on);
}

TEST("a descriptor that is no listening socket is not inherited") {
  Plane plane;
  ListenSpec inherited = spec(Address());
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  inherited.inherited = socket.get();
  CHECK_EQ(plane.engine.listen(inherited).error, EINVAL);
  inherited.inherited = 12345;
  CHECK_EQ(plane.engine.listen(inherited).error, EBADF);
}

TEST(
    "a socket that a successor takes over keeps its clients, its file, and the connections of the "
    "predecessor") {
  ListenSpec limited = spec();
  limited.limits.connections = 1;
  ControlPlane control(limited);
  const Server before;
  const Server after;
  control.plane.engine.setUpstream(control.id, {before.address()});
  const Peer old = control.client();
  const Peer oldServer = before.accept();
  const Peer queued = control.client();  // it waits in the kernel's queue
  control.plane.nextFault();

  ListenSpec predecessor = spec(Address());
  predecessor.predecessor = control.id;
  const Engine::Listening listening = control.plane.engine.listen(predecessor);
  CHECK_EQ(listening.error, 0);
  CHECK(listening.on.path() == kSocketPath);
  control.plane.engine.setUpstream(listening.id, {after.address()});
  control.plane.engine.closeListener(control.id);
  after.accept().write("welcome");
  CHECK(queued.read(7) == "welcome");
  old.write("still");
  CHECK(oldServer.read(5) == "still");
  const Peer next = control.client();
  after.accept().write("welcome");
  CHECK(next.read(7) == "welcome");
  predecessor.predecessor = control.id;
  CHECK_EQ(control.plane.engine.listen(predecessor).error, EBADF);
  predecessor.predecessor = 12345;
  CHECK_EQ(control.plane.engine.listen(predecessor).error, EBADF);
  control.plane.engine.closeListener(listening.id);
}

TEST("the limits of a successor count the connections of its predecessor") {
  ListenSpec limited = tcpSpec();
  limited.limits.connections = 2;
  limited.limits.connectionsPerClient = 2;
  ControlPlane control(limited);
  const Server server;
  control.plane.engine.setUpstream(control.id, {server.address()});
  Peer first = control.client();
  Peer firstServer = server.accept();
  ListenSpec predecessor = limited;
  predecessor.on = Address();
  predecessor.limits.connections = 3;
  ListenerId before = control.id;
  ListenerId id = 0;
  for (int i = 0; i < 3; ++i) {
    predecessor.predecessor = before;
    id = control.plane.engine.listen(predecessor).id;
    CHECK(id != 0);
    control.plane.engine.setUpstream(id, {server.address()});
    control.plane.engine.closeListener(before);
    before = id;
  }
  const Peer second = control.client();
  const Peer secondServer = server.accept();
  CHECK_EQ(control.client().readError(), ECONNRESET);  // the third of this client
  control.plane.nextFault();
  const Peer other = Peer::connectFrom("127.0.0.9", control.on);
  server.accept().write("welcome");
  CHECK(other.read(7) == "welcome");
  const Peer waiting = Peer::connectFrom("127.0.0.8", control.on);  // the fourth of all
  CHECK_EQ(static_cast<int>(control.plane.nextFault().kind), static_cast<int>(FaultKind::Limit));
  first.close();  // of the first listener, whose place it gives to a client of the last
  firstServer.close();
  server.accept().write("welcome");
  CHECK(waiting.read(7) == "welcome");
}

TEST("a predecessor accepts again when the successor that took over its socket is closed") {
  ListenSpec limited = tcpSpec();
  limited.limits.connections = 1;
  ControlPlane control(limited);
  const Server server;
  control.plane.engine.setUpstream(control.id, {server.address()});
  Peer first = control.client();
  Peer firstServer = server.accept();
  const Peer second = control.client();
  control.plane.nextFault();
  ListenSpec predecessor = limited;
  predecessor.on = Address();
  predecessor.predecessor = control.id;
  const ListenerId id = control.plane.engine.listen(predecessor).id;
  control.plane.engine.closeListener(id);
  first.close();
  firstServer.close();
  server.accept().write("welcome");
  CHECK(second.read(7) == "welcome");
}

TEST(
    "clients that wait for the first addresses are served even if the listener is closed before these come") {
  ControlPlane control(tcpSpec());
  const Server server;
  const Peer client = control.client();
  client.write("hello");
  while (control.plane.engine.counters().at(0).accepted == 0) std::this_thread::yield();
  control.plane.engine.closeListener(control.id);
  control.plane.engine.setUpstream(control.id, {server.address()});
  CHECK(server.accept().read(5) == "hello");
}

TEST(
    "the counters of a closed listener stay until it is forgotten, which takes that its last connection has "
    "ended") {
  ControlPlane control(tcpSpec());
  const Server server;
  control.plane.engine.setUpstream(control.id, {server.address()});
  const Peer client = control.client();
  const Peer accepted = server.accept();
  control.plane.engine.forget(control.id);
  control.plane.engine.closeListener(control.id);
  control.plane.engine.forget(control.id);
  CHECK_EQ(control.plane.engine.counters().size(), 1);
  client.endWriting();
  accepted.endWriting();
  control.closed(CloseReason::Finished);
  CHECK_EQ(control.plane.engine.counters().size(), 1);
  control.plane.engine.forget(control.id);
  CHECK_EQ(control.plane.engine.counters().size(), 0);
}

TEST("unix servers are reached like others") {
  ControlPlane control(tcpSpec());
  Opened opened = listenOn(Address::unixPath(kSocketPath));
  CHECK(opened.fd);
  control.plane.engine.setUpstream(control.id, {Address::unixPath(kSocketPath)});
  const Peer client = control.client();
  client.write("hello");
  pollfd query{opened.fd.get(), POLLIN, 0};
  CHECK(poll(&query, 1, kPatienceSeconds * 1000) == 1);
  const Peer accepted(accept4(opened.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  CHECK(accepted.read(5) == "hello");
  removeSocketFile(Address::unixPath(kSocketPath));
}

TEST("running threads answer each heartbeat") {
  Plane plane;
  CHECK(plane.engine.beat());
  for (int i = 0; i < 3; ++i) {
    while (!plane.engine.beat()) std::this_thread::yield();
  }
}

TEST("a datagram reaches a socket by path and by abstract name; an absent socket is an error") {
  const auto check = [](const std::string& path, Address address) {
    const UniqueFd receiver(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (path[0] == '@') {
      reinterpret_cast<sockaddr_un*>(address.raw())->sun_path[0] = '\0';
      address.setSize(address.size() - 1);
    }
    CHECK(bind(receiver.get(), address.raw(), address.size()) == 0);
    CHECK_EQ(sendDatagram(path, "READY=1"), 0);
    char buffer[16];
    CHECK_EQ(receive(receiver.get(), buffer, sizeof buffer).bytes, 7);
  };
  check(kSocketPath, Address::unixPath(kSocketPath));
  unlink(kSocketPath.c_str());
  check("@" + kSocketPath, Address::unixPath("@" + kSocketPath));
  CHECK_EQ(sendDatagram(kSocketPath, "READY=1"), ENOENT);
  CHECK_EQ(sendDatagram(std::string(200, 'x'), "READY=1"), ENAMETOOLONG);
}
