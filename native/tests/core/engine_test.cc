// The engine from outside: real sockets on loopback, two relay threads, one event queue.

#include "../harness.h"

#include <sched.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

TEST("listen: an address in use is an error with its call, and nothing else changes") {
  Route route({});
  const Engine::Listening second = route.plane.engine.listen(spec());
  CHECK_EQ(second.error, EADDRINUSE);
  CHECK(std::string(second.call) == "bind");
}

TEST("listen: the file of a unix socket is replaced if its process is gone, and nothing else is") {
  const Address on = Address::unixPath(kSocketPath);
  {
    const UniqueFd left(socket(AF_UNIX, SOCK_STREAM, 0));
    CHECK_EQ(bind(left.get(), on.raw(), on.size()), 0);
  }
  {
    Plane plane;
    CHECK_EQ(plane.engine.listen(spec()).error, 0);
    Peer::connect(on);
  }
  const UniqueFd other(socket(AF_UNIX, SOCK_DGRAM, 0));
  CHECK_EQ(bind(other.get(), on.raw(), on.size()), 0);
  CHECK_EQ(Plane().engine.listen(spec()).error, EADDRINUSE);
  CHECK_EQ(unlink(kSocketPath.c_str()), 0);
  CHECK_EQ(symlink("/nonexistent", kSocketPath.c_str()), 0);
  CHECK_EQ(Plane().engine.listen(spec()).error, EADDRINUSE);
  CHECK_EQ(unlink(kSocketPath.c_str()), 0);
}

TEST("listen: a unix path that is too long is an error and no crash") {
  Plane plane;
  CHECK(plane.engine.listen(spec(Address::unixPath(std::string(200, 'x')))).error != 0);
}

TEST("no upstream: the client is closed, and the record has the reason") {
  Route route({});
  const Peer client = route.client();
  CHECK_EQ(client.read(1).size(), 0u);
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::NoUpstream);
  CHECK(record.phase == Phase::Connecting);
  CHECK_EQ(record.server.family(), AF_UNSPEC);
}

TEST("upstream not known yet: the client waits for it, and is then served") {
  const Server server;
  Plane plane;
  const ListenerId id = plane.engine.listen(spec()).id;
  const Peer client = Peer::connect(Address::unixPath(kSocketPath));
  client.write("early");
  plane.next<Progress>();
  plane.engine.setUpstream(id, {server.address()});
  CHECK(server.accept().read(5) == "early");
}

TEST("upstream never known: the connect deadline ends the connection") {
  Plane plane;
  ListenSpec with = spec();
  with.timeouts.connect = kSecond / 20;
  plane.engine.listen(with);
  const Peer client = Peer::connect(with.on);
  CHECK_EQ(client.read(1).size(), 0u);
  const CloseRecord record = plane.nextClose();
  CHECK(record.reason == CloseReason::NoUpstream);
  CHECK_EQ(record.error, ETIMEDOUT);
}

TEST("refused: the client is closed at once, and the record has the address and ECONNREFUSED") {
  const Server refusing("127.0.0.1", -1);
  ListenSpec with = tcpSpec();
  with.timeouts.connect = 10 * kPatienceSeconds * kSecond;
  Route route({refusing.address()}, with);
  const Peer client = route.client();
  CHECK_EQ(client.readError(), ECONNRESET);
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::ConnectFailed);
  CHECK_EQ(record.error, ECONNREFUSED);
  CHECK_EQ(record.server.port(), refusing.address().port());
}

TEST("refused, then a working upstream: the same listener serves again") {
  const Server refusing("127.0.0.1", -1);
  const Server server;
  Route route({refusing.address()});
  CHECK_EQ(route.client().read(1).size(), 0u);
  CHECK(route.plane.nextClose().reason == CloseReason::ConnectFailed);
  route.plane.engine.setUpstream(route.id, {server.address()});
  const Peer client = route.client();
  client.write("again");
  CHECK(server.accept().read(5) == "again");
}

TEST("several addresses: after a refusal the next one is tried at once") {
  const Server refusing("127.0.0.1", -1);
  const Server server;
  Route route({refusing.address(), refusing.address(), server.address()});
  const Peer client = route.client();
  client.write("x");
  CHECK(server.accept().read(1) == "x");
  CHECK_EQ(route.plane.next<Progress>().step == Step::Accepted, true);
  const Progress connected = route.plane.next<Progress>();
  CHECK(connected.step == Step::Connected);
  CHECK_EQ(connected.server.port(), server.address().port());
}

namespace {

// A server whose queue is full: the kernel drops further SYNs, as a firewall would.
struct Silent {
  Silent() : server("127.0.0.1", 0) {
    // Non-blocking connects fill the queue. The last of them gets no answer.
    for (int i = 0; i < 8; ++i) fillers.push_back(startConnect(server.address()).fd);
  }
  Server server;
  std::vector<UniqueFd> fillers;
};

}  // namespace

TEST("several addresses: after the head start of a silent one the next one is tried") {
  const Silent silent;
  const Server server;
  Route route({silent.server.address(), server.address()});
  const Peer client = route.client();
  client.write("x");
  CHECK(server.accept().read(1) == "x");
}

TEST("connect deadline: the attempt at a silent server ends in time, and the record says so") {
  const Silent silent;
  ListenSpec with = spec();
  with.timeouts.connect = kSecond / 10;
  Route route({silent.server.address()}, with);
  CHECK_EQ(route.client().read(1).size(), 0u);
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::ConnectTimeout);
  CHECK(record.totalMicros >= kSecond / 10);
}

namespace {

// A server's unix socket. The destructor removes its file.
struct UnixServer {
  explicit UnixServer(const std::string& path, int backlog = 128) : file(Address::unixPath(path)) {
    fd.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const Address on = Address::unixPath(path);
    CHECK(bind(fd.get(), on.raw(), on.size()) == 0);
    CHECK(::listen(fd.get(), backlog) == 0);
  }
  Peer accept() const {
    pollfd query{fd.get(), POLLIN, 0};
    CHECK(poll(&query, 1, kPatienceSeconds * 1000) == 1);
    return Peer(::accept(fd.get(), nullptr, nullptr));
  }
  SocketFile file;
  UniqueFd fd;
};

const std::string kServerPath = kSocketPath + ".server";

// Waits for the progress event of the round of the first attempt, which comes after the attempt.
void awaitFirstAttempt(Plane& plane) { CHECK(plane.next<Progress>().step == Step::Accepted); }

}  // namespace

TEST("absent unix server: tried again, and the client is served once it is there") {
  Route route({Address::unixPath(kServerPath)});
  const Peer client = route.client();
  client.write("patient");
  awaitFirstAttempt(route.plane);
  const UnixServer server(kServerPath);
  CHECK(server.accept().read(7) == "patient");
  CHECK(route.plane.next<Progress>().step == Step::Connected);
}

TEST(
    "restarted unix server: connecting to its stale file fails, and clients are served once it listens "
    "again") {
  std::optional<UnixServer> server(kServerPath);
  Route route({Address::unixPath(kServerPath)});
  server->fd.reset();
  std::vector<Peer> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(route.client());
    clients.back().write("x");
    awaitFirstAttempt(route.plane);
  }
  server.reset();
  server.emplace(kServerPath);
  for (int i = 0; i < 20; ++i) CHECK(server->accept().read(1) == "x");
}

TEST("unix server with a full queue: the client is served when there is room") {
  const UnixServer server(kServerPath, 0);
  std::vector<UniqueFd> fillers;
  for (Opened filler; (filler = startConnect(Address::unixPath(kServerPath))).error == 0;) {
    fillers.push_back(std::move(filler.fd));
  }
  Route route({Address::unixPath(kServerPath)});
  const Peer client = route.client();
  client.write("late");
  awaitFirstAttempt(route.plane);
  for (size_t i = 0; i < fillers.size(); ++i) server.accept();
  CHECK(server.accept().read(4) == "late");
}

TEST("absent unix server after a TCP server that refuses: both are tried again") {
  Server refusing("127.0.0.1", -1);
  Route route({refusing.address(), Address::unixPath(kServerPath)});
  const Peer client = route.client();
  client.write("x");
  awaitFirstAttempt(route.plane);
  refusing.listen();
  CHECK(refusing.accept().read(1) == "x");
}

TEST("absent unix server: the connect deadline ends the connection, and the record has the errno") {
  ListenSpec with = tcpSpec();
  with.timeouts.connect = kSecond / 10;
  Route route({Address::unixPath(kServerPath)}, with);
  CHECK_EQ(route.client().readError(), ECONNRESET);
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::ConnectFailed);
  CHECK(record.endedBy == Party::Server);
  CHECK_EQ(record.error, ENOENT);
  CHECK(record.server.path() == kServerPath);
  CHECK(record.totalMicros >= kSecond / 10);
}

TEST("absent unix server: its clients do not delay a drain") {
  Route route({Address::unixPath(kServerPath)});
  const Peer client = route.client();
  awaitFirstAttempt(route.plane);
  route.plane.engine.drain(0);
  CHECK(route.plane.nextClose().reason == CloseReason::Drained);
}

TEST("absent unix server: stop ends the connection of a waiting client") {
  Route route({Address::unixPath(kServerPath)});
  const Peer client = route.client();
  awaitFirstAttempt(route.plane);
  route.plane.engine.stop();
  CHECK_EQ(client.read(1).size(), 0u);
}

TEST("half-close: the server's reply still arrives after the client's EOF") {
  const Server server;
  Route route({server.address()});
  const Peer client = route.client();
  client.write("question");
  client.endWriting();
  const Peer accepted = server.accept();
  CHECK(accepted.readAll() == "question");
  accepted.write("decide");
  CHECK(client.read(6) == "decide");
  accepted.endWriting();
  CHECK(client.readAll().empty());
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::Finished);
  CHECK(record.endedBy == Party::Client);
  CHECK_EQ(record.bytesUp, 8u);
  CHECK_EQ(record.bytesDown, 6u);
}

TEST("half-close: the client's bytes still arrive after the server's EOF") {
  const Server server;
  Route route({server.address()});
  const Peer client = route.client();
  client.write("?");
  const Peer accepted = server.accept();
  CHECK(accepted.read(1) == "?");
  accepted.write("greeting");
  accepted.endWriting();
  CHECK(client.readAll() == "greeting");
  client.write("late");
  client.endWriting();
  CHECK(accepted.readAll() == "late");
  CHECK(route.plane.nextClose().endedBy == Party::Server);
}

TEST("a server's reset reaches the client as a reset, after the bytes before it") {
  const Server server;
  Route route({server.address()}, tcpSpec());
  const Peer client = route.client();
  client.write("x");
  Peer accepted = server.accept();
  CHECK(accepted.read(1) == "x");
  accepted.write("part");
  CHECK(client.read(4) == "part");
  accepted.reset();
  CHECK_EQ(client.readError(), ECONNRESET);
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::Reset);
  CHECK(record.endedBy == Party::Server);
  CHECK_EQ(record.error, ECONNRESET);
}

TEST("a client's reset reaches the server as a reset") {
  const Server server;
  Route route({server.address()}, tcpSpec());
  Peer client = route.client();
  client.write("x");
  const Peer accepted = server.accept();
  CHECK(accepted.read(1) == "x");
  client.reset();
  CHECK_EQ(accepted.readError(), ECONNRESET);
  CHECK(route.plane.nextClose().endedBy == Party::Client);
}

TEST("a client's reset after its EOF ends the connection") {
  const Server server;
  Route route({server.address()}, tcpSpec());
  Peer client = route.client();
  client.write("x");
  client.endWriting();
  const Peer accepted = server.accept();
  CHECK(accepted.readAll() == "x");
  client.reset();
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::Reset);
  CHECK(record.endedBy == Party::Client);
}

TEST(
    "a server that resets while the client still uploads: the client sees a reset, so a cut answer does not "
    "look complete") {
  const Server server;
  Route route({server.address()}, tcpSpec());
  for (int i = 0; i < 50; ++i) {
    const Peer client = route.client();
    client.write("request");
    Peer accepted = server.accept();
    CHECK(accepted.read(7) == "request");
    client.write(std::string(256 * 1024, 'u'));
    accepted.write("cut");
    accepted.reset();
    int error = 0;
    client.read(1 << 20, &error);
    CHECK_EQ(error, ECONNRESET);
    CHECK(route.plane.nextClose().reason == CloseReason::Reset);
  }
}

TEST("a client that closes without reading: all its bytes arrive, and its place is free at once") {
  const Server server;
  Route route({server.address()});
  const std::string data = pattern(200'000, 1);
  Peer client = route.client();
  client.write(data);
  client.close();
  const Peer accepted = server.accept();
  CHECK(accepted.readAll() == data);
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::Finished);
  CHECK(record.endedBy == Party::Client);
}

TEST("a client that half-closes and leaves later: its place is free although the server sends nothing") {
  const Server server;
  Route route({server.address()});
  Peer client = route.client();
  client.write("x");
  client.endWriting();
  const Peer accepted = server.accept();
  CHECK(accepted.readAll() == "x");
  client.close();
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::Finished);
  CHECK(record.endedBy == Party::Client);
}

TEST("both peers write much and neither reads at first: no deadlock, and every byte arrives") {
  const Server server;
  Route route({server.address()});
  constexpr size_t kSize = 16 * 1024 * 1024;
  const std::string up = pattern(kSize, 2);
  const std::string down = pattern(kSize, 3);
  const Peer client = route.client();
  const Peer accepted = server.accept();
  std::thread clientWriter([&] {
    client.write(up);
    client.endWriting();
  });
  std::thread serverWriter([&] {
    accepted.write(down);
    accepted.endWriting();
  });
  std::string gotUp;
  std::thread serverReader([&] { gotUp = accepted.readAll(); });
  const std::string gotDown = client.readAll();
  clientWriter.join();
  serverWriter.join();
  serverReader.join();
  CHECK(gotUp == up);
  CHECK(gotDown == down);
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::Finished);
  CHECK_EQ(record.bytesUp, kSize);
  CHECK_EQ(record.bytesDown, kSize);
}

TEST("back-pressure: a server that does not read stops its client, and not the others") {
  const Server server;
  Route route({server.address()});
  const Peer stuck = route.client();
  const Peer stuckServer = server.accept();
  // Non-blocking writes until no buffer takes more: the kernel's buffers and one of the engine limit them.
  const std::string chunk = pattern(1 << 20, 4);
  std::thread writer([&] {
    stuck.write(chunk + chunk + chunk + chunk + chunk + chunk + chunk + chunk);
    stuck.endWriting();
  });
  const Peer other = route.client();
  const Peer otherServer = server.accept();
  for (int i = 0; i < 100; ++i) {
    other.write("ping");
    CHECK(otherServer.read(4) == "ping");
    otherServer.write("pong");
    CHECK(other.read(4) == "pong");
  }
  CHECK_EQ(stuckServer.readAll().size(), 8u << 20);
  writer.join();
}

TEST("300 connections at once: each gets its own bytes back, and its own record") {
  constexpr int kConnections = 300;
  const Server server("127.0.0.1", 1024);
  Route route({server.address()});
  std::thread echo([&] {
    std::vector<Peer> accepted;
    for (int i = 0; i < kConnections; ++i) accepted.push_back(server.accept());
    for (const Peer& peer : accepted) {
      peer.write(peer.readAll());
      peer.endWriting();
    }
  });
  std::vector<Peer> clients;
  for (int i = 0; i < kConnections; ++i) {
    clients.push_back(route.client());
    clients.back().write(pattern(5000, static_cast<unsigned>(i)));
    clients.back().endWriting();
  }
  for (int i = 0; i < kConnections; ++i) {
    CHECK(clients[static_cast<size_t>(i)].readAll() == pattern(5000, static_cast<unsigned>(i)));
  }
  echo.join();
  for (int i = 0; i < kConnections; ++i) CHECK_EQ(route.plane.nextClose().bytesDown, 5000u);
  const ListenerCounters counters = route.plane.engine.counters().at(0);
  CHECK_EQ(counters.accepted, kConnections);
  CHECK_EQ(counters.active, 0u);
  CHECK_EQ(counters.bytesUp, kConnections * 5000u);
}

TEST("the limit: the next client waits, a fault reports it, and it is served when a place is free") {
  const Server server;
  ListenSpec with = spec();
  with.limits.connections = 2;
  Route route({server.address()}, with);
  Peer first = route.client();
  const Peer second = route.client();
  const Peer firstServer = server.accept();
  const Peer secondServer = server.accept();
  const Peer third = route.client();
  third.write("third");
  const Fault fault = route.plane.next<Fault>();
  CHECK(fault.kind == FaultKind::Limit);
  CHECK_EQ(fault.listener, route.id);
  CHECK(route.plane.engine.counters().at(0).waitingSince != 0);
  CHECK_EQ(route.plane.engine.counters().at(0).active, 2u);
  first.close();
  const Peer thirdServer = server.accept();
  CHECK(thirdServer.read(5) == "third");
  third.endWriting();
  CHECK(thirdServer.readAll().empty());
  thirdServer.endWriting();
  CHECK(third.readAll().empty());
  CloseRecord served = route.plane.nextClose();
  CloseRecord waited = route.plane.nextClose();
  if (served.queuedMicros > waited.queuedMicros) std::swap(served, waited);  // of different threads
  CHECK_EQ(served.queuedMicros, 0);
  CHECK(waited.queuedMicros > 0);
  const ListenerCounters counters = route.plane.engine.counters().at(0);
  CHECK(counters.limitHits >= 1);
  CHECK(counters.limitWaitMicros > 0);
  CHECK_EQ(counters.waitingSince, 0);
}

TEST("the limit under load: every client in the queue is served") {
  const Server server("127.0.0.1", 512);
  ListenSpec with = spec();
  with.limits.connections = 1;
  with.report = ReportKind::Failures;
  Route route({server.address()}, with);
  constexpr int kClients = 400;
  std::thread answer([&] {
    for (int i = 0; i < kClients; ++i) {
      const Peer peer = server.accept();
      peer.write(peer.read(1));
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kClients / 4; ++i) {
        const Peer client = route.client();
        client.write("x");
        CHECK(client.read(1) == "x");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  answer.join();
}

namespace {

// `left`: descriptors that the engine may still open.
void runOutOfDescriptors(size_t left) {
  const Server server;
  Route route({server.address()});
  const Peer served = route.client();
  const Peer servedServer = server.accept();

  std::vector<UniqueFd> hoard;
  std::vector<int> clients(5);
  for (int& fd : clients) fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  rlimit before{};
  CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit tight{static_cast<rlim_t>(clients.back()) + 10, before.rlim_max};
  CHECK(setrlimit(RLIMIT_NOFILE, &tight) == 0);
  for (;;) {
    const int fd = dup(clients.back());
    if (fd < 0) break;
    hoard.emplace_back(fd);
  }
  hoard.resize(hoard.size() - left);
  std::vector<Peer> starved;
  for (const int fd : clients) {
    CHECK(::connect(fd, route.on.raw(), route.on.size()) == 0);
    starved.emplace_back(fd);
  }
  const Fault fault = route.plane.next<Fault>();
  CHECK(fault.kind == FaultKind::Accept);
  CHECK_EQ(fault.error, EMFILE);
  // Connections that are open go on meanwhile.
  served.write("still here");
  CHECK(servedServer.read(10) == "still here");
  hoard.clear();
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
  for (const Peer& client : starved) client.write("saved");
  for (size_t i = 0; i < starved.size(); ++i) CHECK(server.accept().read(5) == "saved");
}

}  // namespace

TEST("out of descriptors: accepting pauses with a fault, and goes on when there are descriptors again") {
  runOutOfDescriptors(0);
}

TEST("out of descriptors: no client is accepted unless a descriptor is left for its server") {
  for (const size_t left : {1, 2, 3, 4}) runOutOfDescriptors(left);
}

TEST("idle deadline: a silent connection ends; an active one does not") {
  const Server server;
  ListenSpec with = spec();
  with.timeouts.idle = 2 * kSecond;
  Route route({server.address()}, with);
  const Peer silent = route.client();
  const Peer silentServer = server.accept();
  const Peer talking = route.client();
  const Peer talkingServer = server.accept();
  while (!silent.readable()) {
    talking.write("x");
    CHECK(talkingServer.read(1) == "x");
  }
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::IdleTimeout);
  talking.write("alive");
  CHECK(talkingServer.read(5) == "alive");
}

namespace {

// Whether a socket of this process that is connected to `server` has the option.
bool hasOption(const Server& server, int level, int name) {
  for (int fd = 0; fd < 1024; ++fd) {
    Address peer;
    socklen_t size = Address::kCapacity;
    if (getpeername(fd, peer.raw(), &size) < 0 || !peer.isTcp() || peer.port() != server.address().port())
      continue;
    int value = 0;
    socklen_t valueSize = sizeof value;
    CHECK(getsockopt(fd, level, name, &value, &valueSize) == 0);
    if (value != 0) return true;
  }
  return false;
}

}  // namespace

TEST("small writes are not held back: TCP_NODELAY from the start") {
  const Server server;
  Route route({server.address()});
  const Peer client = route.client();
  const Peer accepted = server.accept();
  CHECK(hasOption(server, IPPROTO_TCP, TCP_NODELAY));
}

TEST("small writes to a TCP client are not held back either") {
  const Server server;
  Route route({server.address()}, tcpSpec());
  const Peer client = route.client();
  const Peer accepted = server.accept();
  int sockets = 0;
  for (int fd = 0; fd < 1024; ++fd) {
    Address local;
    Address peer;
    socklen_t size = Address::kCapacity;
    int noDelay = 0;
    socklen_t optionSize = sizeof noDelay;
    if (getsockname(fd, local.raw(), &size) < 0 || !local.isTcp() || local.port() != route.on.port())
      continue;
    if (size = Address::kCapacity, getpeername(fd, peer.raw(), &size) < 0) continue;
    CHECK(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &noDelay, &optionSize) == 0);
    CHECK(noDelay != 0);
    ++sockets;
  }
  CHECK_EQ(sockets, 1);
}

TEST("a quiet connection gets keepalive, and stays open") {
  const Server server;
  ListenSpec with = spec();
  with.timeouts.quiet = kSecond / 50;
  Route route({server.address()}, with);
  const Peer client = route.client();
  const Peer accepted = server.accept();
  const Micros patience = monotonicMicros() + kPatienceSeconds * kSecond;
  while (!hasOption(server, SOL_SOCKET, SO_KEEPALIVE)) CHECK(monotonicMicros() < patience);
  client.write("still here");
  CHECK(accepted.read(10) == "still here");
}

TEST(
    "a client that has gone, with a server that neither reads nor writes, is noticed when the connection is "
    "quiet") {
  const UnixServer server(kServerPath);
  ListenSpec with = spec();
  with.timeouts.quiet = kSecond / 20;
  Route route({Address::unixPath(kServerPath)}, with);
  Peer client = route.client();
  const Peer accepted = server.accept();
  client.write(
      pattern(300'000, 1));  // more than the server's buffer takes, and less than all buffers together
  client.close();
  accepted.endReading();
  const CloseRecord record = route.plane.nextClose();
  CHECK(record.reason == CloseReason::Reset);
  CHECK(record.endedBy == Party::Server);
  CHECK_EQ(record.error, EPIPE);
}

TEST("closeListener: new clients are refused, connections go on") {
  const Server server;
  Route route({server.address()});
  const Peer client = route.client();
  const Peer accepted = server.accept();
  route.plane.engine.closeListener(route.id);
  for (;;) {
    const UniqueFd late(socket(AF_UNIX, SOCK_STREAM, 0));
    if (::connect(late.get(), route.on.raw(), route.on.size()) < 0) break;
  }
  client.write("still");
  CHECK(accepted.read(5) == "still");
  CHECK(access(kSocketPath.c_str(), F_OK) != 0);
}

TEST("closeListener: the address is free at once") {
  constexpr Micros kLettingGo = kSecond / 10;  // longer than that it waits for no thread
  Micros waited = 0;
  const Micros patience = monotonicMicros() + kPatienceSeconds * kSecond;
  Plane plane(4);
  ListenSpec spec;
  for (const Address& on : {Address::tcp("127.0.0.1", 0), Address::unixPath(kSocketPath)}) {
    spec.on = on;
    for (int i = 0; i < 200; ++i) {
      Engine::Listening listening = plane.engine.listen(spec);
      while (listening.error == EADDRINUSE) {
        CHECK(waited >= kLettingGo && monotonicMicros() < patience);
        listening = plane.engine.listen(spec);
      }
      CHECK_EQ(listening.error, 0);
      spec.on = listening.on;
      const Micros before = monotonicMicros();
      plane.engine.closeListener(listening.id);
      waited = monotonicMicros() - before;
    }
  }
}

TEST("drain: open connections may finish, and then the drain is over") {
  const Server server;
  Route route({server.address()});
  const Peer client = route.client();
  const Peer accepted = server.accept();
  route.plane.engine.drain(600 * kSecond);
  client.write("last words");
  client.endWriting();
  CHECK(accepted.readAll() == "last words");
  accepted.endWriting();
  CHECK_EQ(route.plane.next<Drained>().aborted, 0u);
  CHECK(route.plane.nextClose().reason == CloseReason::Finished);
}

TEST("drain: connections that are open at the deadline are reset and counted") {
  const Server server;
  Route route({server.address()}, tcpSpec());
  const Peer client = route.client();
  const Peer accepted = server.accept();
  route.plane.engine.drain(kSecond / 20);
  CHECK_EQ(client.readError(), ECONNRESET);
  CHECK_EQ(accepted.readError(), ECONNRESET);
  CHECK_EQ(route.plane.next<Drained>().aborted, 1u);
  CHECK(route.plane.nextClose().reason == CloseReason::Drained);
}

TEST("drain: clients in the queue are accepted first, and served") {
  const Server server;
  Plane plane(1);
  const Engine::Listening listening = plane.engine.listen(tcpSpec());
  plane.engine.setUpstream(listening.id, {server.address()});
  constexpr int kClients = 100;  // one is accepted a round, so most are in the queue
  std::vector<Peer> clients;
  for (int i = 0; i < kClients; ++i) clients.push_back(Peer::connect(listening.on));
  plane.engine.drain(600 * kSecond);
  for (const Peer& client : clients) client.write("x");
  for (int i = 0; i < kClients; ++i) CHECK(server.accept().read(1) == "x");
  clients.clear();
  CHECK_EQ(plane.next<Drained>().aborted, 0u);
}

TEST("drain: clients that wait for the first addresses are served when these are known") {
  const Server server;
  Plane plane;
  const Engine::Listening listening = plane.engine.listen(tcpSpec());
  constexpr size_t kClients = 20;
  std::vector<Peer> clients;
  for (size_t i = 0; i < kClients; ++i) clients.push_back(Peer::connect(listening.on));
  plane.engine.drain(600 * kSecond);
  plane.engine.setUpstream(listening.id, {server.address()});
  for (const Peer& client : clients) client.write("x");
  for (size_t i = 0; i < kClients; ++i) CHECK(server.accept().read(1) == "x");
  clients.clear();
  CHECK_EQ(plane.next<Drained>().aborted, 0u);
}

TEST("drain: the queue of an inherited socket is left to the next process of its maker") {
  UniqueFd maker = listenOn(tcpSpec().on).fd;
  ListenSpec with = tcpSpec();
  with.inherited = maker.get();
  with.limits.connections = 1;
  const Server server;
  Plane plane;
  const ListenerId id = plane.engine.listen(with).id;
  plane.engine.setUpstream(id, {server.address()});
  const Peer first = Peer::connect(localAddress(maker.get()));
  const Peer accepted = server.accept();
  const Peer second = Peer::connect(localAddress(maker.get()));  // no place for it
  plane.engine.drain(600 * kSecond);
  first.endWriting();
  accepted.endWriting();
  plane.next<Drained>();
  Address peer;
  CHECK_EQ(acceptFrom(maker.get(), peer).error, 0);
}

TEST("drain: with nothing open it is over at once") {
  Route route({});
  route.plane.engine.drain(600 * kSecond);
  CHECK_EQ(route.plane.next<Drained>().aborted, 0u);
}

TEST("drain without a deadline: a client that comes at that moment does not outlive it") {
  for (int i = 0; i < 50; ++i) {
    const Server server;
    Route route({server.address()});
    std::vector<UniqueFd> clients;
    for (int c = 0; c < 20; ++c) clients.push_back(startConnect(route.on).fd);
    route.plane.engine.drain(0);
    route.plane.next<Drained>();
    for (const ListenerCounters& counters : route.plane.engine.counters()) CHECK_EQ(counters.active, 0u);
  }
}

TEST("failures only: a connection that finishes in order is counted, and has no record") {
  const Server server;
  const Server refusing("127.0.0.1", -1);
  ListenSpec with = spec();
  with.report = ReportKind::Failures;
  Plane plane(1);  // one thread ends the first connection before it accepts the second
  const ListenerId id = plane.engine.listen(with).id;
  plane.engine.setUpstream(id, {server.address()});
  {
    const Peer client = Peer::connect(with.on);
    client.endWriting();
    const Peer accepted = server.accept();
    CHECK(accepted.readAll().empty());
    accepted.endWriting();
    CHECK(client.readAll().empty());
  }
  plane.engine.setUpstream(id, {refusing.address()});
  CHECK_EQ(Peer::connect(with.on).read(1).size(), 0u);
  CHECK(plane.nextClose().reason == CloseReason::ConnectFailed);
  CHECK_EQ(plane.pending(), 0u);
  CHECK_EQ(plane.engine.counters().at(0).closed[0], 1u);
}

TEST("stop ends open connections and waiting clients") {
  const Server server;
  auto route = std::make_unique<Route>(std::vector<Address>{server.address()});
  const Peer client = route->client();
  const Peer accepted = server.accept();
  route->plane.engine.stop();
  CHECK(client.readAll().empty());
}

namespace {

// Copies of all sockets of the process, as a child process has between fork(2) and exec(3).
struct Copies {
  Copies() {
    for (int fd = 3; fd < 1024; ++fd) {
      int type = 0;
      socklen_t size = sizeof type;
      if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0)
        all.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, 1024));
    }
  }
  // Makes an event of each socket: it has hung up.
  void hangUp() const {
    for (const UniqueFd& copy : all) shutdown(copy.get(), SHUT_RDWR);
  }
  // How many of the sockets wait for the answer of a TCP server.
  size_t connecting() const {
    size_t count = 0;
    for (const UniqueFd& copy : all) {
      tcp_info info{};
      socklen_t size = sizeof info;
      if (getsockopt(copy.get(), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_state == TCP_SYN_SENT)
        ++count;
    }
    return count;
  }
  std::vector<UniqueFd> all;
};

// Returns when each relay thread has waited for events at least once more.
void nextRound(Engine& engine) {
  while (!engine.beat()) std::this_thread::yield();
  while (!engine.beat()) std::this_thread::yield();
}

}  // namespace

TEST("a child process that has copies of its sockets: a closed connection gets no more events") {
  const Server server;
  Route route({server.address()});
  const Peer client = route.client();
  const Peer accepted = server.accept();
  client.write("x");
  CHECK(accepted.read(1) == "x");
  const Copies copies;
  client.endWriting();
  accepted.endWriting();
  CHECK(route.plane.nextClose().reason == CloseReason::Finished);
  copies.hangUp();
  nextRound(route.plane.engine);
}

TEST("a child process that has copies of its sockets: an attempt that is dropped gets no more events") {
  const Silent silent;
  const size_t before = Copies().connecting();
  Route route({silent.server.address()});
  const Peer client = route.client();
  awaitFirstAttempt(route.plane);
  nextRound(route.plane.engine);
  const Copies copies;
  CHECK_EQ(copies.connecting(), before + 1);
  route.plane.engine.drain(0);
  CHECK(route.plane.nextClose().reason == CloseReason::Drained);
  copies.hangUp();
  nextRound(route.plane.engine);
}

namespace {

// From now on the relay thread runs only while this one waits: it gets in one round what happens until then.
void runBehindThisThread(const std::string& relayThread) {
  cpu_set_t processor;
  CPU_ZERO(&processor);
  CPU_SET(sched_getcpu(), &processor);
  CHECK_EQ(sched_setaffinity(0, sizeof processor, &processor), 0);
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::ifstream(entry.path() / "comm") >> name;
    if (name != relayThread) continue;
    const pid_t thread = std::stoi(entry.path().filename());
    const sched_param none{};
    CHECK_EQ(sched_setaffinity(thread, sizeof processor, &processor), 0);
    CHECK_EQ(sched_setscheduler(thread, SCHED_IDLE, &none), 0);
    return;
  }
  check::fail(__FILE__, __LINE__, "there is no thread " + relayThread);
}

}  // namespace

// epoll(7): with EPOLLEXCLUSIVE the kernel may tell only one of those that watch.
TEST("a client of whom the kernel told only the listener that is replaced: the successor serves it") {
  cpu_set_t before;
  CHECK_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  const Server server;
  Plane plane(1);
  const Engine::Listening first = plane.engine.listen(spec());
  ListenSpec next = spec();
  next.predecessor = first.id;
  const Engine::Listening second = plane.engine.listen(next);
  for (const ListenerId id : {first.id, second.id}) plane.engine.setUpstream(id, {server.address()});
  nextRound(plane.engine);
  runBehindThisThread("relay-0");
  std::this_thread::sleep_for(std::chrono::milliseconds(10));  // it waits for events meanwhile
  const Peer client = Peer::connect(spec().on);
  plane.engine.closeListener(first.id);
  client.write("x");
  CHECK(server.accept().read(1) == "x");
  CHECK_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}
