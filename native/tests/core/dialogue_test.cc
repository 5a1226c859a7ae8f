// Connections whose way is asked about. The tests answer in the control plane's place.

#include <chrono>

#include "../harness.h"

namespace {

using Stage = Ask::Stage;
using Action = Verdict::Action;

// Of a TCP client, so that its resets can be seen.
ListenSpec asking(ListenerKind kind = ListenerKind::AskHead) {
  ListenSpec asking = tcpSpec();
  asking.kind = kind;
  return asking;
}

struct Desk {
  explicit Desk(const ListenSpec& with = asking()) {
    const Engine::Listening listening = plane.engine.listen(with);
    CHECK_EQ(listening.error, 0);
    id = listening.id;
    on = listening.on;
  }
  Peer client() const { return Peer::connect(on); }
  Ask asked(Stage stage, const std::string& bytes) {
    Ask ask = plane.nextAsk();
    CHECK_EQ(static_cast<int>(ask.stage), static_cast<int>(stage));
    if (ask.bytes != bytes) check::fail(__FILE__, __LINE__, "asked about: " + ask.bytes);
    return ask;
  }
  // Answers `more` until it is asked about all of these bytes.
  Ask askedInParts(Stage stage, const std::string& bytes) {
    for (;;) {
      Ask ask = plane.nextAsk();
      CHECK_EQ(static_cast<int>(ask.stage), static_cast<int>(stage));
      CHECK(bytes.compare(0, ask.bytes.size(), ask.bytes) == 0);
      if (ask.bytes.size() == bytes.size()) return ask;
      answer(ask, Action::More);
    }
  }
  void answer(const Ask& ask, Verdict verdict) {
    plane.engine.answer({{ask.connection, std::move(verdict)}});
  }
  void answer(const Ask& ask, Action action) {
    Verdict verdict;
    verdict.action = action;
    answer(ask, std::move(verdict));
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

Verdict connectTo(const Address& address, size_t consume = 0) {
  Verdict verdict;
  verdict.action = Action::Connect;
  verdict.target = 7;
  verdict.addresses = {address};
  verdict.consume = consume;
  return verdict;
}

Verdict exchangeWith(const Address& address, size_t consume, Body body, const std::string& head = "HEAD;") {
  Verdict verdict = connectTo(address, consume);
  verdict.action = Action::Exchange;
  verdict.toServer = head;
  verdict.body = body;
  return verdict;
}

Verdict respondWith(size_t consume, Body body, bool next, const std::string& head = "ANSWER;") {
  Verdict verdict;
  verdict.action = Action::Respond;
  verdict.consume = consume;
  verdict.toClient = head;
  verdict.body = body;
  verdict.next = next;
  return verdict;
}

Verdict reject(CloseReason reason, const std::string& reply = "") {
  Verdict verdict;
  verdict.reason = reason;
  verdict.toClient = reply;
  return verdict;
}

}  // namespace

TEST("a verdict that does not fit ends the connection") {
  const Server server;
  Verdict tooMuch = connectTo(server.address(), 6);
  Verdict response = respondWith(0, Body::none(), false);
  Verdict interim;
  interim.action = Action::Interim;
  for (const Verdict& verdict : {tooMuch, response, interim}) {
    Desk desk;
    const Peer client = desk.client();
    client.write("hello");
    desk.answer(desk.asked(Stage::Head, "hello"), verdict);
    CHECK_EQ(client.readError(), ECONNRESET);
    CHECK_EQ(desk.closed(CloseReason::Internal).error, EPROTO);
    desk.checkCounters(CloseReason::Internal, 1);
  }
}

TEST("an answer without a question, a late one and one twice change nothing") {
  Desk desk;
  const Server server;
  desk.plane.engine.answer({{12345, connectTo(server.address())}});
  Peer client = desk.client();
  client.write("hello");
  const Ask ask = desk.asked(Stage::Head, "hello");
  desk.answer(ask, connectTo(server.address()));
  desk.answer(ask, reject(CloseReason::Denied));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5) == "hello");
  client.close();
  CHECK(accepted.readAll().empty());
  accepted.endWriting();
  desk.closed(CloseReason::Finished);
  desk.answer(ask, reject(CloseReason::Denied));
  desk.checkCounters(CloseReason::Finished, 1);
}

TEST("a rejected client has its reply, even if it sends on, and sees the end of it") {
  Desk desk;
  const Peer client = desk.client();
  client.write("hello");
  const Ask ask = desk.asked(Stage::Head, "hello");
  client.write(std::string(100 * 1000, 'x'));
  desk.answer(ask, reject(CloseReason::Denied, "no, and why"));
  CHECK(client.readAll() == "no, and why");
  client.write(std::string(1000, 'x'));
  client.endWriting();
  const CloseRecord record = desk.closed(CloseReason::Denied);
  CHECK_EQ(static_cast<int>(record.phase), static_cast<int>(Phase::Asking));
  CHECK_EQ(record.bytesDown, 11);
}

TEST("a rejected client that never leaves is left") {
  Desk desk;
  const Peer client = desk.client();
  client.write("hello");
  desk.answer(desk.asked(Stage::Head, "hello"), reject(CloseReason::Denied, "no"));
  desk.closed(CloseReason::Denied);
}

TEST("a rejected client without a reply is reset") {
  Desk desk;
  const Peer client = desk.client();
  client.write("hello");
  desk.answer(desk.asked(Stage::Head, "hello"), reject(CloseReason::Malformed));
  CHECK_EQ(client.readError(), ECONNRESET);
  desk.closed(CloseReason::Malformed);
}

TEST("a client that sends nothing, too little, or gets no answer meets the head deadline") {
  ListenSpec spec = asking();
  spec.timeouts.head = kSecond / 2;
  Desk desk(spec);
  const Peer silent = desk.client();
  CHECK(silent.readAll().empty());
  desk.closed(CloseReason::HeadTimeout);
  const Peer slow = desk.client();
  slow.write("hel");
  desk.answer(desk.asked(Stage::Head, "hel"), Action::More);
  desk.closed(CloseReason::HeadTimeout);
  const Peer unanswered = desk.client();
  unanswered.write("hello");
  const Ask ask = desk.asked(Stage::Head, "hello");
  desk.closed(CloseReason::VerdictTimeout);
  desk.checkCounters(CloseReason::HeadTimeout, 2);
  desk.checkCounters(CloseReason::VerdictTimeout, 1);
  desk.answer(ask, reject(CloseReason::Denied));
}

TEST("a client that leaves before it has said anything has finished") {
  Desk desk;
  desk.client().close();
  CHECK_EQ(static_cast<int>(desk.closed(CloseReason::Finished).endedBy), static_cast<int>(Party::Client));
}

TEST("a client that leaves in the middle of a head: asked with its end, and `more` is malformed then") {
  Desk desk;
  const Peer client = desk.client();
  client.write("hel");
  client.endWriting();
  Ask ask = desk.plane.nextAsk();
  if (!ask.ended) {
    desk.answer(ask, Action::More);
    ask = desk.plane.nextAsk();
  }
  CHECK(ask.ended && ask.bytes == "hel");
  desk.answer(ask, Action::More);
  desk.closed(CloseReason::Malformed);
}

TEST("a head grows with each question, up to its limit") {
  Desk desk;
  const Peer client = desk.client();
  std::string sent;
  for (const char* part : {"a", "bc", "def"}) {
    client.write(part);
    sent += part;
    desk.answer(desk.asked(Stage::Head, sent), Action::More);
  }
  client.write(std::string(Connection::kHeadBytes, 'x'));
  sent.append(Connection::kHeadBytes - sent.size(), 'x');
  desk.answer(desk.askedInParts(Stage::Head, sent), Action::More);
  desk.closed(CloseReason::Malformed);
}

TEST("a head is asked about again only when so many bytes, or a certain one, have come") {
  Desk desk;
  const Peer client = desk.client();
  client.write("ab");
  Verdict more;
  more.action = Action::More;
  more.atLeast = 5;
  desk.answer(desk.asked(Stage::Head, "ab"), more);
  client.write("c");
  client.write("de");
  more.atLeast = 0;
  more.until = ';';
  desk.answer(desk.asked(Stage::Head, "abcde"), more);
  for (int i = 0; i < 100; ++i) client.write("x");
  client.write(";");
  std::string all = "abcde" + std::string(100, 'x') + ";";
  desk.answer(desk.asked(Stage::Head, all), more);
  client.write("and the end");
  client.endWriting();
  Ask ask = desk.plane.nextAsk();
  CHECK(ask.ended);
  CHECK(ask.bytes == all + "and the end");
  desk.answer(ask, reject(CloseReason::Malformed));
  desk.closed(CloseReason::Malformed);
}

TEST("what came behind a request is no more than a head may be, and `more` of it ends the connection") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("head;");
  desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::chunked()));
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
  desk.answer(desk.askedInParts(Stage::Response, "s;"), respondWith(2, Body::none(), true));
  for (;;) {
    const Ask ask = desk.plane.nextAsk();
    CHECK(ask.bytes.size() <= Connection::kHeadBytes);
    desk.answer(ask, Action::More);
    if (ask.bytes.size() == Connection::kHeadBytes) break;
  }
  desk.closed(CloseReason::Malformed);
  writer.join();
}

TEST("connect: what is not consumed goes to the server, between what the verdict gives both") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("CONNECT;early");
  Verdict verdict = connectTo(server.address(), 8);
  verdict.toServer = "from the proxy;";
  verdict.toClient = "go on;";
  desk.answer(desk.asked(Stage::Head, "CONNECT;early"), verdict);
  const Peer accepted = server.accept();
  CHECK(accepted.read(20) == "from the proxy;early");
  CHECK(client.read(6) == "go on;");
  client.write(" and later");
  client.endWriting();
  CHECK(accepted.readAll() == " and later");
  accepted.write("answer");
  accepted.endWriting();
  CHECK(client.readAll() == "answer");
  const CloseRecord record = desk.closed(CloseReason::Finished);
  CHECK_EQ(record.target, 7);
  CHECK_EQ(record.bytesUp, 30);
  CHECK_EQ(record.bytesDown, 12);
  const Progress connected = [&] {
    for (;;) {
      const Progress step = std::get<Progress>(desk.plane.next(0));
      if (step.step == Progress::Step::Connected) return step;
    }
  }();
  CHECK_EQ(connected.target, 7);
}

TEST("connect: a client that has ended its half already gets its answer") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("all of it");
  client.endWriting();
  desk.answer(desk.askedInParts(Stage::Head, "all of it"), connectTo(server.address()));
  const Peer accepted = server.accept();
  CHECK(accepted.readAll() == "all of it");
  accepted.write("answer");
  accepted.endWriting();
  CHECK(client.readAll() == "answer");
  desk.closed(CloseReason::Finished);
}

TEST("connect: large data in both directions after a head, none lost") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  const std::string up = pattern(5 << 20, 1);
  const std::string down = pattern(5 << 20, 2);
  std::thread writer([&] {
    client.write("head;" + up);
    client.endWriting();
  });
  Ask ask = desk.plane.nextAsk();
  desk.answer(ask, connectTo(server.address(), 5));
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
  desk.closed(CloseReason::Finished);
}

TEST("a failure to connect: with `explain` asked about once more, else the end") {
  const Server refusing("127.0.0.1", -1);
  Desk desk;
  const Peer client = desk.client();
  client.write("hello");
  Verdict verdict = connectTo(refusing.address());
  desk.answer(desk.asked(Stage::Head, "hello"), verdict);
  CHECK_EQ(client.readError(), ECONNRESET);
  CHECK_EQ(desk.closed(CloseReason::ConnectFailed).error, ECONNREFUSED);

  const Peer other = desk.client();
  other.write("hello");
  verdict.explain = true;
  verdict.toClient = "connected;";  // which it never will be
  desk.answer(desk.asked(Stage::Head, "hello"), verdict);
  const Ask failed = desk.plane.nextAsk();
  CHECK_EQ(static_cast<int>(failed.stage), static_cast<int>(Stage::Failed));
  CHECK_EQ(static_cast<int>(failed.reason), static_cast<int>(CloseReason::ConnectFailed));
  CHECK_EQ(failed.error, ECONNREFUSED);
  CHECK_EQ(failed.target, 7);
  CHECK_EQ(failed.server.port(), refusing.address().port());
  desk.answer(failed, reject(CloseReason::ConnectFailed, "refused"));
  CHECK(other.readAll() == "refused");
  other.endWriting();
  const CloseRecord record = desk.closed(CloseReason::ConnectFailed);
  CHECK_EQ(record.error, ECONNREFUSED);
  CHECK_EQ(static_cast<int>(record.endedBy), static_cast<int>(Party::Server));
}

TEST("a failure to connect: no addresses, and a deadline, are asked about too") {
  ListenSpec spec = asking();
  spec.timeouts.connect = kSecond / 2;
  Desk desk(spec);
  Peer client = desk.client();
  client.write("hello");
  Verdict verdict = connectTo(Address());
  verdict.explain = true;
  verdict.addresses.clear();
  desk.answer(desk.asked(Stage::Head, "hello"), verdict);
  const Ask none = desk.asked(Stage::Failed, "");
  CHECK_EQ(static_cast<int>(none.reason), static_cast<int>(CloseReason::NoUpstream));
  CHECK_EQ(none.server.family(), AF_UNSPEC);
  client.close();
  desk.answer(none, reject(CloseReason::NoUpstream, "nowhere"));
  desk.closed(CloseReason::NoUpstream);

  const Server silent("127.0.0.1", 0);
  const Peer first = Peer::connect(silent.address());  // fills its queue
  const Peer waiting = desk.client();
  waiting.write("hello");
  verdict.addresses = {silent.address()};
  desk.answer(desk.asked(Stage::Head, "hello"), verdict);
  const Ask late = desk.asked(Stage::Failed, "");
  CHECK_EQ(static_cast<int>(late.reason), static_cast<int>(CloseReason::ConnectTimeout));
  desk.answer(late, Action::More);
  CHECK_EQ(desk.closed(CloseReason::Internal).error, EPROTO);
}

TEST("a client is asked about before it has said anything, with where it connected to") {
  Desk desk(asking(ListenerKind::AskClient));
  const Server server;
  const Peer client = desk.client();
  const Ask ask = desk.asked(Stage::Client, "");
  CHECK_EQ(ask.local.port(), desk.on.port());
  CHECK(ask.client.ip() == "127.0.0.1");
  Verdict verdict = connectTo(server.address());
  verdict.toServer = "PROXY;";
  desk.answer(ask, verdict);
  const Peer accepted = server.accept();
  accepted.write("server speaks first");
  CHECK(accepted.read(6) == "PROXY;");
  CHECK(client.read(19) == "server speaks first");
  client.endWriting();
  accepted.endWriting();
  desk.closed(CloseReason::Finished);
}

TEST("a handshake: the client's bytes wait until the server has agreed, then everything flows") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("head;early");
  Verdict verdict = connectTo(server.address(), 5);
  verdict.toServer = "agree?";
  verdict.handshake = true;
  desk.answer(desk.asked(Stage::Head, "head;early"), verdict);
  const Peer accepted = server.accept();
  CHECK(accepted.read(6) == "agree?");
  client.write(" bird");
  accepted.write("wait;");
  desk.answer(desk.asked(Stage::Response, "wait;"), Action::More);
  accepted.write("yes;and more");
  const Ask ask = desk.asked(Stage::Response, "wait;yes;and more");
  CHECK(!accepted.readable());
  Verdict relay;
  relay.action = Action::Relay;
  relay.consume = 9;
  relay.toClient = "go;";
  desk.answer(ask, relay);
  CHECK(accepted.read(10) == "early bird");
  CHECK(client.read(11) == "go;and more");
  client.endWriting();
  CHECK(accepted.readAll().empty());
  accepted.write("!");
  accepted.endWriting();
  CHECK(client.readAll() == "!");
  desk.closed(CloseReason::Finished);
}

TEST("a handshake: a server that refuses, ends or cannot be reached is asked about") {
  Desk desk;
  const Server server;
  const Server refusing("127.0.0.1", -1);
  const auto begin = [&](const Address& address) {
    Peer client = desk.client();
    client.write("head;");
    Verdict verdict = connectTo(address, 5);
    verdict.toServer = "agree?";
    verdict.handshake = true;
    desk.answer(desk.asked(Stage::Head, "head;"), verdict);
    return client;
  };
  const Peer unlucky = begin(refusing.address());
  desk.answer(desk.asked(Stage::Failed, ""), reject(CloseReason::ConnectFailed, "refused"));
  CHECK(unlucky.readAll() == "refused");
  desk.closed(CloseReason::ConnectFailed);

  const Peer left = begin(server.address());
  server.accept().close();
  const Ask ended = desk.asked(Stage::Response, "");
  CHECK(ended.ended);
  desk.answer(ended, reject(CloseReason::Malformed, "gone"));
  CHECK(left.readAll() == "gone");
  desk.closed(CloseReason::Malformed);

  const Peer denied = begin(server.address());
  const Peer accepted = server.accept();
  accepted.write("no;");
  const Ask ask = desk.asked(Stage::Response, "no;");
  desk.answer(ask, respondWith(3, Body::none(), false));
  CHECK_EQ(denied.readError(), ECONNRESET);
  desk.closed(CloseReason::Internal);
}

TEST("a handshake: a server that says nothing has as long as we had, and is asked about") {
  ListenSpec spec = asking();
  spec.timeouts.connect = kSecond / 2;
  spec.timeouts.head = kSecond / 2;
  Desk desk(spec);
  const Server server;
  const Peer client = desk.client();
  client.write("head;");
  Verdict verdict = connectTo(server.address(), 5);
  verdict.toServer = "agree?";
  verdict.handshake = true;
  desk.answer(desk.asked(Stage::Head, "head;"), verdict);
  const Peer accepted = server.accept();
  const auto connected = std::chrono::steady_clock::now();
  CHECK(accepted.read(6) == "agree?");
  const Ask late = desk.asked(Stage::Failed, "");
  CHECK(std::chrono::steady_clock::now() - connected > std::chrono::milliseconds(900));
  CHECK_EQ(static_cast<int>(late.reason), static_cast<int>(CloseReason::ConnectTimeout));
  desk.answer(late, reject(CloseReason::ConnectTimeout, "late"));
  CHECK(client.readAll() == "late");
  desk.closed(CloseReason::ConnectTimeout);
}

TEST("an exchange: interim responses without end are the end") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("head;");
  desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  Verdict interim;
  interim.action = Action::Interim;
  interim.consume = 1;
  interim.toClient = "go on;";
  accepted.write(std::string(100, '1'));
  for (int i = 0; i < 17; ++i) desk.answer(desk.plane.nextAsk(), interim);
  CHECK_EQ(static_cast<int>(desk.closed(CloseReason::Malformed).endedBy), static_cast<int>(Party::Server));
}

TEST("an exchange: one request, one response, and the next request on the same connection") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  for (int round = 0; round < 3; ++round) {
    client.write("head;body!");
    desk.answer(desk.askedInParts(Stage::Head, "head;body!"),
                exchangeWith(server.address(), 5, Body::length(5)));
    const Peer accepted = server.accept();
    CHECK(accepted.read(10) == "HEAD;body!");
    accepted.write("status;12345678");
    desk.answer(desk.askedInParts(Stage::Response, "status;12345678"), respondWith(7, Body::length(8), true));
    CHECK(client.read(15) == "ANSWER;12345678");
    CHECK(accepted.readAll().empty());
  }
  client.endWriting();
  const CloseRecord record = desk.closed(CloseReason::Finished);
  CHECK_EQ(record.bytesUp, 30);
  CHECK_EQ(record.bytesDown, 45);
}

TEST("an exchange: pipelined requests are asked about one by one, and never reach the server before") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("one;two;three;");
  Ask ask = desk.asked(Stage::Head, "one;two;three;");
  const size_t sizes[] = {4, 4, 6};
  const char* rests[] = {"two;three;", "three;", ""};
  for (int i = 0; i < 3; ++i) {
    desk.answer(ask, exchangeWith(server.address(), sizes[i], Body::none()));
    const Peer accepted = server.accept();
    CHECK(accepted.read(5) == "HEAD;");
    CHECK(!accepted.readable());
    accepted.write("s;");
    desk.answer(desk.askedInParts(Stage::Response, "s;"), respondWith(2, Body::none(), true));
    CHECK(client.read(7) == "ANSWER;");
    if (i < 2) ask = desk.asked(Stage::Head, rests[i]);
  }
  client.endWriting();
  desk.closed(CloseReason::Finished);
}

TEST("an exchange: chunked bodies in both directions, cut at every byte") {
  const std::string chunks = "5\r\nhello\r\n3;x\r\nabc\r\n0\r\nTrailer: t\r\n\r\n";
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  for (size_t cut = 0; cut <= chunks.size(); ++cut) {
    client.write("head;" + chunks.substr(0, cut));
    Ask ask = desk.plane.nextAsk();
    desk.answer(ask, exchangeWith(server.address(), 5, Body::chunked()));
    const Peer accepted = server.accept();
    CHECK(accepted.read(5 + cut) == "HEAD;" + chunks.substr(0, cut));
    client.write(chunks.substr(cut));
    CHECK(accepted.read(chunks.size() - cut) == chunks.substr(cut));
    accepted.write("status;" + chunks.substr(0, cut));
    desk.answer(desk.askedInParts(Stage::Response, "status;" + chunks.substr(0, cut)),
                respondWith(7, Body::chunked(), true));
    CHECK(client.read(7 + cut) == "ANSWER;" + chunks.substr(0, cut));
    accepted.write(chunks.substr(cut) + "what nobody asked for");
    CHECK(client.read(chunks.size() - cut) == chunks.substr(cut));
  }
  client.endWriting();
  desk.closed(CloseReason::Finished);
}

TEST("an exchange: malformed chunks end it, and the server is not told that they were whole") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("head;5\r\nhel");
  desk.answer(desk.asked(Stage::Head, "head;5\r\nhel"), exchangeWith(server.address(), 5, Body::chunked()));
  const Peer accepted = server.accept();
  CHECK(accepted.read(11) == "HEAD;5\r\nhel");
  client.write("loX\r\n0\r\n\r\n");
  CHECK_EQ(accepted.readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(desk.closed(CloseReason::Malformed).endedBy), static_cast<int>(Party::Client));

  const Peer other = desk.client();
  other.write("head;");
  desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  const Peer broken = server.accept();
  broken.write("status;5\r\nhelloX");
  desk.answer(desk.askedInParts(Stage::Response, "status;5\r\nhelloX"),
              respondWith(7, Body::chunked(), true));
  CHECK_EQ(other.readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(desk.closed(CloseReason::Malformed).endedBy), static_cast<int>(Party::Server));
}

TEST("an exchange: a request that breaks off is reset, not completed") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("head;hel");
  desk.answer(desk.asked(Stage::Head, "head;hel"), exchangeWith(server.address(), 5, Body::length(5)));
  const Peer accepted = server.accept();
  client.endWriting();
  CHECK_EQ(accepted.readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(desk.closed(CloseReason::Reset).endedBy), static_cast<int>(Party::Client));
}

TEST("an exchange: a response that breaks off is reset, not completed") {
  const auto breakOff = [](bool reset, Body body) {
    Desk desk;
    const Server server;
    const Peer client = desk.client();
    client.write("head;");
    desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
    Peer accepted = server.accept();
    CHECK(accepted.read(5) == "HEAD;");
    accepted.write("status;5\r\nhel");
    desk.answer(desk.askedInParts(Stage::Response, "status;5\r\nhel"), respondWith(7, body, true));
    CHECK(client.read(13) == "ANSWER;5\r\nhel");
    if (reset)
      accepted.reset();
    else
      accepted.close();
    CHECK_EQ(client.readError(), ECONNRESET);
    CHECK_EQ(static_cast<int>(desk.closed(CloseReason::Reset).endedBy), static_cast<int>(Party::Server));
  };
  breakOff(false, Body::length(100));
  breakOff(false, Body::chunked());
  breakOff(true, Body::length(100));
  breakOff(true, Body::chunked());
}

TEST("an exchange: a response up to the server's EOF, and the end of the connection with it") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("head;");
  desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  const std::string down = pattern(1 << 20, 3);
  accepted.write("status;");
  Verdict verdict = respondWith(7, Body::none(), false);
  verdict.untilEof = true;
  desk.answer(desk.askedInParts(Stage::Response, "status;"), verdict);
  std::thread writer([&] {
    accepted.write(down);
    accepted.close();
  });
  CHECK(client.readAll() == "ANSWER;" + down);
  writer.join();
  client.endWriting();
  desk.closed(CloseReason::Finished);
}

TEST("an exchange: a reset within a response up to the EOF is a reset") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("head;");
  desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  accepted.write("status;");
  const Ask ask = desk.askedInParts(Stage::Response, "status;");
  Verdict verdict = respondWith(7, Body::none(), false);
  verdict.untilEof = true;
  desk.answer(ask, verdict);
  CHECK(client.read(7) == "ANSWER;");
  accepted.reset();
  CHECK_EQ(client.readError(), ECONNRESET);
  desk.closed(CloseReason::Reset);
}

TEST("an exchange: interim responses go ahead of the final one") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("head;");
  desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::length(4)));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  accepted.write("100;200;");
  Verdict interim;
  interim.action = Action::Interim;
  interim.consume = 4;
  interim.toClient = "continue;";
  desk.answer(desk.askedInParts(Stage::Response, "100;200;"), interim);
  const Ask ask = desk.asked(Stage::Response, "200;");
  CHECK(client.read(9) == "continue;");
  client.write("body");
  CHECK(accepted.read(4) == "body");
  desk.answer(ask, respondWith(4, Body::none(), true));
  CHECK(client.read(7) == "ANSWER;");
  client.endWriting();
  desk.closed(CloseReason::Finished);
}

TEST("an exchange: a server that ends without an answer, or with a broken one, is asked about with its end") {
  for (const bool reset : {false, true}) {
    Desk desk;
    const Server server;
    const Peer client = desk.client();
    client.write("head;");
    desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
    Peer accepted = server.accept();
    CHECK(accepted.read(5) == "HEAD;");
    if (reset)
      accepted.reset();
    else
      accepted.close();
    const Ask ask = desk.asked(Stage::Response, "");
    CHECK(ask.ended);
    desk.answer(ask, reject(CloseReason::Malformed, "bad gateway"));
    CHECK(client.readAll() == "bad gateway");
    client.endWriting();
    CHECK_EQ(static_cast<int>(desk.closed(CloseReason::Malformed).endedBy), static_cast<int>(Party::Server));
  }
}

TEST("an exchange: a server that answers before it has the request gets no next one") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  client.write("head;he");
  desk.answer(desk.asked(Stage::Head, "head;he"), exchangeWith(server.address(), 5, Body::length(5)));
  const Peer accepted = server.accept();
  accepted.write("413;");
  desk.answer(desk.askedInParts(Stage::Response, "413;"), respondWith(4, Body::none(), true));
  CHECK(client.readAll() == "ANSWER;");
  client.write("llo");
  client.endWriting();
  desk.closed(CloseReason::Finished);
}

TEST("an exchange: a client that leaves while the server thinks ends it") {
  Desk desk;
  const Server server;
  Peer client = desk.client();
  client.write("head;");
  desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5) == "HEAD;");
  client.reset();
  CHECK_EQ(accepted.readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(desk.closed(CloseReason::Reset).endedBy), static_cast<int>(Party::Client));
}

TEST("an exchange: large bodies against slow readers, none lost") {
  Desk desk;
  const Server server;
  const Peer client = desk.client();
  const std::string up = pattern(3 << 20, 4);
  const std::string down = pattern(3 << 20, 5);
  std::thread writer([&] { client.write("head;" + up); });
  Ask ask = desk.plane.nextAsk();
  desk.answer(ask, exchangeWith(server.address(), 5, Body::length(up.size())));
  const Peer accepted = server.accept();
  CHECK(accepted.read(5 + up.size()) == "HEAD;" + up);
  writer.join();
  std::thread answering([&] { accepted.write("status;" + down); });
  const Ask response = desk.plane.nextAsk();
  desk.answer(response, respondWith(7, Body::length(down.size()), true));
  CHECK(client.read(7 + down.size()) == "ANSWER;" + down);
  answering.join();
  client.endWriting();
  desk.closed(CloseReason::Finished);
}

TEST("an exchange: the idle deadline holds, while the server thinks and between requests") {
  ListenSpec spec = asking();
  spec.timeouts.idle = kSecond / 20;
  Desk desk(spec);
  const Server server;
  const Peer client = desk.client();
  client.write("head;");
  desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  const Peer accepted = server.accept();
  desk.closed(CloseReason::IdleTimeout);

  const Peer other = desk.client();
  other.write("head;");
  desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
  const Peer second = server.accept();
  second.write("s;");
  desk.answer(desk.askedInParts(Stage::Response, "s;"), respondWith(2, Body::none(), true));
  CHECK(other.readAll() == "ANSWER;");
  desk.closed(CloseReason::IdleTimeout);
}

TEST("a drain ends clients between two requests at once, and answers those that have one under way") {
  Desk desk;
  const Server server;
  const Peer idle = desk.client();
  const Peer busy = desk.client();
  const auto request = [&](const Peer& client) {
    client.write("head;");
    desk.answer(desk.asked(Stage::Head, "head;"), exchangeWith(server.address(), 5, Body::none()));
    return server.accept();
  };
  const auto respond = [&](const Peer& accepted) {
    accepted.write("s;");
    desk.answer(desk.askedInParts(Stage::Response, "s;"), respondWith(2, Body::none(), true));
  };
  respond(request(idle));
  CHECK(idle.read(7) == "ANSWER;");
  const Peer accepted = request(busy);
  desk.plane.engine.drain(10 * kSecond);
  CHECK(idle.readAll().empty());
  respond(accepted);
  CHECK(busy.readAll() == "ANSWER;");
  busy.endWriting();
  CHECK_EQ(std::get<Drained>(desk.plane.next(3)).aborted, 0);
}

TEST("a client that may not connect is refused, and told of once a second") {
  ListenSpec spec = tcpSpec();
  spec.admission.sources = {{Address::tcp("127.0.0.2", 0), 32}, {Address::tcp("10.0.0.0", 0), 8}};
  Desk desk(spec);
  for (int i = 0; i < 5; ++i) CHECK_EQ(desk.client().readError(), ECONNRESET);
  const Fault fault = desk.plane.nextFault();
  CHECK_EQ(static_cast<int>(fault.kind), static_cast<int>(Fault::Kind::NotAdmitted));
  CHECK(fault.client.ip() == "127.0.0.1");
  CHECK_EQ(desk.plane.pending(), 0);
  desk.checkCounters(CloseReason::NotAdmitted, 5);
}

TEST("a client without a CID is refused where CIDs are listed") {
  ListenSpec spec = tcpSpec();
  spec.admission.cids = {{16}};
  Desk desk(spec);
  CHECK_EQ(desk.client().readError(), ECONNRESET);
  desk.plane.nextFault();
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
  spec.maxConnectionsPerClient = 2;
  Desk desk(spec);
  const Server server;
  desk.plane.engine.setUpstream(desk.id, {server.address()});
  Peer one = desk.client();
  Peer first = server.accept();
  const Peer two = desk.client();
  const Peer second = server.accept();
  CHECK_EQ(desk.client().readError(), ECONNRESET);
  CHECK_EQ(static_cast<int>(desk.plane.nextFault().kind), static_cast<int>(Fault::Kind::ClientLimit));
  const Peer other = Peer::connectFrom("127.0.0.9", desk.on);
  const Peer third = server.accept();
  one.close();
  first.close();
  desk.closed(CloseReason::Finished);
  const Peer again = desk.client();
  server.accept().write("welcome");
  CHECK(again.read(7) == "welcome");
  CHECK_EQ(desk.plane.engine.counters().at(0).closed[static_cast<size_t>(CloseReason::ClientLimit)], 1);
}

TEST("one client that comes too often is refused, another is served") {
  ListenSpec spec = tcpSpec();
  spec.ratePerClient = 1;
  Desk desk(spec);
  const Server server;
  desk.plane.engine.setUpstream(desk.id, {server.address()});
  const Peer first = desk.client();
  const Peer accepted = server.accept();
  int refused = 0;  // at least one of many that come one after the other
  for (int i = 0; i < 20 && refused == 0; ++i) {
    const Peer client = desk.client();
    int error = 0;
    client.endWriting();
    client.read(1, &error);
    if (error != 0) ++refused;
  }
  CHECK(refused > 0);
  CHECK_EQ(static_cast<int>(desk.plane.nextFault().kind), static_cast<int>(Fault::Kind::ClientRate));
  const Peer other = Peer::connectFrom("127.0.0.9", desk.on);
  other.write("me");
  while (server.accept().read(2) != "me") continue;  // past those that were served
}

TEST("a socket that is inherited is listened on, and stays open for its maker") {
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
  plane.next(3);
  const Peer waiting = Peer::connect(listening.on);
  CHECK(hasWaiting(opened.fd.get()));
  removeSocketFile(listening.on);
}

TEST("what is no listening socket is not inherited") {
  Plane plane;
  ListenSpec inherited = spec(Address());
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  inherited.inherited = socket.get();
  CHECK_EQ(plane.engine.listen(inherited).error, EINVAL);
  inherited.inherited = 12345;
  CHECK_EQ(plane.engine.listen(inherited).error, EBADF);
}

TEST("an adopted socket keeps its clients, its file, and the old listener's connections") {
  ListenSpec limited = spec();
  limited.maxConnections = 1;
  Desk desk(limited);
  const Server before;
  const Server after;
  desk.plane.engine.setUpstream(desk.id, {before.address()});
  const Peer old = desk.client();
  const Peer oldServer = before.accept();
  const Peer queued = desk.client();  // in the kernel's queue
  desk.plane.nextFault();

  ListenSpec adopted = spec(Address());
  adopted.adopted = desk.id;
  const Engine::Listening listening = desk.plane.engine.listen(adopted);
  CHECK_EQ(listening.error, 0);
  CHECK(listening.on.path() == kSocketPath);
  desk.plane.engine.setUpstream(listening.id, {after.address()});
  desk.plane.engine.closeListener(desk.id);
  after.accept().write("welcome");
  CHECK(queued.read(7) == "welcome");
  old.write("still");
  CHECK(oldServer.read(5) == "still");
  const Peer next = desk.client();
  after.accept().write("welcome");
  CHECK(next.read(7) == "welcome");
  adopted.adopted = desk.id;
  CHECK_EQ(desk.plane.engine.listen(adopted).error, EBADF);
  adopted.adopted = 12345;
  CHECK_EQ(desk.plane.engine.listen(adopted).error, EBADF);
  desk.plane.engine.closeListener(listening.id);
}

TEST("the limits of a listener that adopts count the connections of the one before") {
  ListenSpec limited = tcpSpec();
  limited.maxConnections = 2;
  limited.maxConnectionsPerClient = 2;
  Desk desk(limited);
  const Server server;
  desk.plane.engine.setUpstream(desk.id, {server.address()});
  Peer first = desk.client();
  Peer firstServer = server.accept();
  ListenSpec adopted = limited;
  adopted.on = Address();
  adopted.maxConnections = 3;
  ListenerId before = desk.id;
  ListenerId id = 0;
  for (int i = 0; i < 3; ++i) {
    adopted.adopted = before;
    id = desk.plane.engine.listen(adopted).id;
    CHECK(id != 0);
    desk.plane.engine.setUpstream(id, {server.address()});
    desk.plane.engine.closeListener(before);
    before = id;
  }
  const Peer second = desk.client();
  const Peer secondServer = server.accept();
  CHECK_EQ(desk.client().readError(), ECONNRESET);  // the third of this client
  desk.plane.nextFault();
  const Peer other = Peer::connectFrom("127.0.0.9", desk.on);
  server.accept().write("welcome");
  CHECK(other.read(7) == "welcome");
  const Peer waiting = Peer::connectFrom("127.0.0.8", desk.on);  // the fourth of all
  CHECK_EQ(static_cast<int>(desk.plane.nextFault().kind), static_cast<int>(Fault::Kind::Limit));
  first.close();  // of the first listener, whose place it gives to a client of the last
  firstServer.close();
  server.accept().write("welcome");
  CHECK(waiting.read(7) == "welcome");
}

TEST("a listener goes on where it was when the one that has adopted its socket is closed") {
  ListenSpec limited = tcpSpec();
  limited.maxConnections = 1;
  Desk desk(limited);
  const Server server;
  desk.plane.engine.setUpstream(desk.id, {server.address()});
  Peer first = desk.client();
  Peer firstServer = server.accept();
  const Peer second = desk.client();
  desk.plane.nextFault();
  ListenSpec adopted = limited;
  adopted.on = Address();
  adopted.adopted = desk.id;
  const ListenerId id = desk.plane.engine.listen(adopted).id;
  desk.plane.engine.closeListener(id);
  first.close();
  firstServer.close();
  server.accept().write("welcome");
  CHECK(second.read(7) == "welcome");
}

TEST("clients who wait for the first addresses get those that come when the listener is closed already") {
  Desk desk(tcpSpec());
  const Server server;
  const Peer client = desk.client();
  client.write("hello");
  while (desk.plane.engine.counters().at(0).accepted == 0) std::this_thread::yield();
  desk.plane.engine.closeListener(desk.id);
  desk.plane.engine.setUpstream(desk.id, {server.address()});
  CHECK(server.accept().read(5) == "hello");
}

TEST("the counters of a closed listener go with its last connection") {
  Desk desk(tcpSpec());
  const Server server;
  desk.plane.engine.setUpstream(desk.id, {server.address()});
  const Peer client = desk.client();
  const Peer accepted = server.accept();
  desk.plane.engine.closeListener(desk.id);
  CHECK_EQ(desk.plane.engine.counters().size(), 1);
  client.endWriting();
  accepted.endWriting();
  desk.closed(CloseReason::Finished);
  CHECK_EQ(desk.plane.engine.counters().size(), 1);
  CHECK_EQ(desk.plane.engine.counters().size(), 0);
}

TEST("unix servers are connected to like others") {
  Desk desk(tcpSpec());
  Opened opened = listenOn(Address::unixPath(kSocketPath));
  CHECK(opened.fd);
  desk.plane.engine.setUpstream(desk.id, {Address::unixPath(kSocketPath)});
  const Peer client = desk.client();
  client.write("hello");
  pollfd query{opened.fd.get(), POLLIN, 0};
  CHECK(poll(&query, 1, kPatienceSeconds * 1000) == 1);
  const Peer accepted(accept4(opened.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  CHECK(accepted.read(5) == "hello");
  removeSocketFile(Address::unixPath(kSocketPath));
}

TEST("threads that run show it from one beat to the next") {
  Plane plane;
  CHECK(plane.engine.beat());
  for (int i = 0; i < 3; ++i) {
    while (!plane.engine.beat()) std::this_thread::yield();
  }
}

TEST("a datagram reaches its socket, by path and by abstract name; nobody there is an error") {
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
