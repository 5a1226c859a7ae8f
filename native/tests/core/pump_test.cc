#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../../core/pump.h"
#include "../../core/socket.h"
#include "../check.h"

using namespace vsock_proxy;

namespace {

// Relay threads have SIGPIPE blocked.
const auto kSigpipeIgnored = std::signal(SIGPIPE, SIG_IGN);

struct Pair {
  Pair() {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    ours.reset(fds[0]);
    theirs.reset(fds[1]);
  }
  UniqueFd ours;    // the end of the pump
  UniqueFd theirs;  // the end of the peer
};

// A pair over TCP on loopback, whose bytes may go through a pipe.
struct TcpPair {
  TcpPair() {
    UniqueFd listener = listenOn(Address::tcp("127.0.0.1", 0)).fd;
    Address address;
    socklen_t size = Address::kCapacity;
    CHECK(getsockname(listener.get(), address.raw(), &size) == 0);
    address.setSize(size);
    theirs = startConnect(address).fd;
    ours = acceptFrom(listener.get(), address).fd;
    CHECK(ours && theirs);
  }
  UniqueFd ours;
  UniqueFd theirs;
};

template <class Source, class Sink = Pair>
struct BenchOf {
  Source source;
  Sink sink;
  Pump pump;
  Scratch scratch;

  int run() { return pump.run(source.ours.get(), sink.ours.get(), scratch); }
  // Returns all bytes that the sink's peer can read now.
  std::string received() {
    std::string all;
    char buffer[64 * 1024];
    for (;;) {
      const Moved moved = receive(sink.theirs.get(), buffer, sizeof buffer);
      if (moved.error != 0 || moved.bytes == 0) return all;
      all.append(buffer, moved.bytes);
    }
  }
};

using Bench = BenchOf<Pair>;

size_t pipesOpen() {
  size_t pipes = 0;
  for (int fd = 0; fd < 1024; ++fd) pipes += fcntl(fd, F_GETPIPE_SZ) > 0 ? 1 : 0;
  return pipes;
}

// Bytes that differ at every offset.
std::string pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 31 + i / 251) & 0xff);
  return text;
}

// Writes as much of `data` as the socket takes.
size_t fill(int fd, const std::string& data, size_t from) {
  size_t written = from;
  while (written < data.size()) {
    const Moved moved = vsock_proxy::send(fd, data.data() + written, data.size() - written);
    if (moved.error != 0) break;
    written += moved.bytes;
  }
  return written;
}

// Makes splice(2) fail with this error in the calling thread, from now on.
void forbidSplice(int error) {
  sock_filter steps[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_splice, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof steps / sizeof *steps, steps};
  CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

// Runs the test in a thread of its own, because `forbidSplice` cannot be undone.
template <class Body>
void inThread(Body body) {
  std::thread(body).join();
}

}  // namespace

TEST("a source without bytes: nothing happens") {
  Bench bench;
  CHECK_EQ(bench.run(), 0);
  CHECK(bench.pump.wantsSource());
  CHECK(!bench.pump.wantsSink());
}

TEST("a sink that takes nothing: read bytes are kept, the source is not read further, and no byte is lost") {
  Bench bench;
  const std::string data = pattern(3'000'000);
  size_t written = 0;
  std::string received;
  bool sawBackPressure = false;
  while (received.size() < data.size()) {
    written = fill(bench.source.theirs.get(), data, written);
    CHECK_EQ(bench.run(), 0);
    if (bench.pump.wantsSink()) {
      sawBackPressure = true;
      CHECK(!bench.pump.wantsSource());
      received += bench.received();
    } else if (written == data.size()) {
      received += bench.received();
    }
  }
  CHECK(sawBackPressure);
  CHECK(received == data);
  CHECK_EQ(bench.pump.bytes(), data.size());
}

TEST("the EOF comes after every byte") {
  Bench bench;
  const std::string data = pattern(1'000'000);
  size_t written = 0;
  std::string received;
  while (bench.pump.state() == Pump::State::Flowing) {
    written = fill(bench.source.theirs.get(), data, written);
    if (written == data.size()) shutdownWrite(bench.source.theirs.get());
    CHECK_EQ(bench.run(), 0);
    received += bench.received();
  }
  CHECK(bench.pump.state() == Pump::State::SourceDone);
  received += bench.received();
  CHECK(received == data);
}

TEST("a sink that has closed: the direction fails with EPIPE and reports lost bytes") {
  Bench bench;
  bench.sink.theirs.reset();
  CHECK_EQ(vsock_proxy::send(bench.source.theirs.get(), "x", 1).bytes, 1u);
  CHECK_EQ(bench.run(), 0);
  CHECK(bench.pump.state() == Pump::State::SinkFailed);
  CHECK_EQ(bench.pump.sinkError(), EPIPE);
  CHECK(bench.pump.lostBytes());
  CHECK(!bench.pump.wantsSource());
  CHECK(!bench.pump.wantsSink());
}

TEST("a sink that closes while bytes are kept for it: they count as lost") {
  Bench bench;
  const std::string data = pattern(2'000'000);
  size_t written = 0;
  while (!bench.pump.wantsSink()) {
    written = fill(bench.source.theirs.get(), data, written);
    CHECK_EQ(bench.run(), 0);
  }
  const uint64_t taken = bench.pump.bytes();
  bench.pump.failSink(EPIPE);
  CHECK(bench.pump.lostBytes());
  CHECK_EQ(bench.pump.bytes(), taken);
  CHECK(!bench.pump.wantsSink());
}

TEST("a sink that has closed while nothing is kept for it: no byte counts as lost") {
  Bench bench;
  bench.pump.failSink(EPIPE);
  CHECK(!bench.pump.lostBytes());
  CHECK_EQ(bench.run(), 0);
}

TEST("a source that was reset: its bytes arrive, and then its error is reported") {
  Bench bench;
  // A unix socket resets its peer when it closes with bytes unread.
  CHECK_EQ(vsock_proxy::send(bench.source.ours.get(), "unread", 6).bytes, 6u);
  CHECK_EQ(vsock_proxy::send(bench.source.theirs.get(), "last", 4).bytes, 4u);
  bench.source.theirs.reset();
  int error = 0;
  for (int i = 0; i < 3 && error == 0; ++i) error = bench.run();
  CHECK_EQ(error, ECONNRESET);
}

TEST("a bulk TCP source: its bytes go through pipes, wait there for a slow sink, and arrive in order") {
  BenchOf<TcpPair> bench;
  bench.pump.between(AF_INET, AF_UNIX);
  const size_t pipesBefore = pipesOpen();
  const std::string data = pattern(40'000'000);
  size_t written = 0;
  std::string received;
  bool sawPipe = false;
  while (bench.pump.state() == Pump::State::Flowing) {
    written = fill(bench.source.theirs.get(), data, written);
    if (written == data.size()) shutdownWrite(bench.source.theirs.get());
    CHECK_EQ(bench.run(), 0);
    sawPipe |= pipesOpen() > pipesBefore;
    // A sink that takes a little now and then, and much at other times.
    char some[10'000];
    const Moved moved = receive(bench.sink.theirs.get(), some, sizeof some);
    received.append(some, moved.bytes);
    if (received.size() % 7 < 3) received += bench.received();
  }
  received += bench.received();
  CHECK(sawPipe);
  CHECK_EQ(received.size(), data.size());
  CHECK(received == data);
  CHECK_EQ(bench.pump.bytes(), data.size());
}

TEST("more blocked bulk pumps than pipes: the others use buffers, and no byte is lost") {
  constexpr size_t kPumps = 40;
  const std::string data = pattern(4'000'000);
  struct Stuck {
    TcpPair source;
    Pair sink;
    Pump pump;
    size_t written = 0;
    std::string received;
  };
  Scratch scratch;
  std::vector<std::unique_ptr<Stuck>> all;
  for (size_t i = 0; i < kPumps; ++i) {
    all.push_back(std::make_unique<Stuck>());
    all.back()->pump.between(AF_INET, AF_UNIX);
  }
  const auto turn = [&](Stuck& one) {
    one.written = fill(one.source.theirs.get(), data, one.written);
    CHECK_EQ(one.pump.run(one.source.ours.get(), one.sink.ours.get(), scratch), 0);
  };
  for (auto& one : all) {
    while (!one->pump.wantsSink()) turn(*one);
  }
  for (auto& one : all) {
    char buffer[100'000];
    while (one->received.size() < data.size()) {
      turn(*one);
      const Moved moved = receive(one->sink.theirs.get(), buffer, sizeof buffer);
      one->received.append(buffer, moved.bytes);
    }
    CHECK(one->received == data);
  }
}

TEST("a small buffer and no pipes: a stream in bulk passes, and at most a buffer is kept for a full sink") {
  constexpr size_t kBufferBytes = 16 * 1024;
  BenchOf<TcpPair> bench{{}, {}, {}, Scratch({kBufferBytes, SIZE_MAX, 0})};
  bench.pump.between(AF_INET, AF_UNIX);
  const size_t pipesBefore = pipesOpen();
  const std::string data = pattern(4'000'000);
  size_t written = 0;
  std::string received;
  bool sawBackPressure = false;
  while (received.size() < data.size()) {
    written = fill(bench.source.theirs.get(), data, written);
    const uint64_t before = bench.pump.bytes();
    CHECK_EQ(bench.run(), 0);
    if (bench.pump.wantsSink()) {
      sawBackPressure = true;
      const uint64_t taken = bench.pump.bytes();
      received += bench.received();
      bench.pump.deliver(bench.sink.ours.get());
      CHECK(!bench.pump.wantsSink());
      CHECK(bench.pump.bytes() - taken <= kBufferBytes);
    } else if (bench.pump.bytes() == before) {
      received += bench.received();
    }
  }
  CHECK(sawBackPressure);
  CHECK(received == data);
  CHECK_EQ(pipesOpen(), pipesBefore);
}

TEST("a sink that fails while a pipe is full: the pipe is not lent again") {
  BenchOf<TcpPair> bench;
  bench.pump.between(AF_INET, AF_UNIX);
  const size_t pipesBefore = pipesOpen();
  const std::string data = pattern(20'000'000);
  size_t written = 0;
  while (!bench.pump.wantsSink() || pipesOpen() == pipesBefore) {
    written = fill(bench.source.theirs.get(), data, written);
    CHECK_EQ(bench.run(), 0);
    if (pipesOpen() == pipesBefore) bench.received();
  }
  bench.sink.theirs.reset();
  CHECK_EQ(bench.run(), 0);
  CHECK_EQ(bench.pump.sinkError(), EPIPE);
  CHECK(bench.pump.lostBytes());
  CHECK_EQ(pipesOpen(), pipesBefore);
}

// Writes `data` until the sink takes no more, and bytes are in a pipe. Returns the bytes written.
template <class Bench>
size_t fillUntilInPipe(Bench& bench, const std::string& data, size_t pipesBefore) {
  size_t written = 0;
  while (!bench.pump.wantsSink() || pipesOpen() == pipesBefore) {
    written = fill(bench.source.theirs.get(), data, written);
    CHECK_EQ(bench.run(), 0);
  }
  return written;
}

// Unix sockets stand for vsock sockets, which this machine may not have. tests/e2e tests what the kernel does
// with vsock itself.
using FromVsock = BenchOf<Pair, TcpPair>;
using ToVsock = BenchOf<TcpPair, Pair>;

TEST("the pump knows whether the pages of a pipe arrive as one message, as since Linux 6.5, or as one each") {
  utsname system;
  CHECK_EQ(uname(&system), 0);
  int major = 0;
  int minor = 0;
  CHECK_EQ(std::sscanf(system.release, "%d.%d", &major, &minor), 2);
  CHECK_EQ(splicesManyPages(), std::make_pair(major, minor) >= std::make_pair(6, 5));
}

// Returns whether bytes have waited in a pipe for the slow sink.
template <class Bench>
bool passInBulk(Bench& bench) {
  const size_t pipesBefore = pipesOpen();
  const std::string data = pattern(20'000'000);
  size_t written = 0;
  std::string received;
  bool sawFullPipe = false;
  size_t turn = 0;
  while (bench.pump.state() == Pump::State::Flowing) {
    written = fill(bench.source.theirs.get(), data, written);
    if (written == data.size()) shutdownWrite(bench.source.theirs.get());
    CHECK_EQ(bench.run(), 0);
    sawFullPipe |= bench.pump.wantsSink() && pipesOpen() > pipesBefore;
    char some[10'000];
    const Moved moved = receive(bench.sink.theirs.get(), some, sizeof some);
    received.append(some, moved.bytes);
    if (++turn % 200 == 0) received += bench.received();
  }
  shutdownWrite(bench.sink.ours.get());
  while (received.size() < data.size()) received += bench.received();
  CHECK(received == data);
  CHECK_EQ(bench.pump.bytes(), data.size());
  return sawFullPipe;
}

TEST("bulk from vsock to TCP is copied, and a slow sink gets every byte in order before the EOF") {
  FromVsock bench;
  bench.pump.between(AF_VSOCK, AF_INET);
  CHECK(!passInBulk(bench));
}

TEST(
    "bulk from TCP to vsock is tried both ways if many pages leave a pipe at once, and arrives in order "
    "before the EOF") {
  ToVsock bench;
  bench.pump.between(AF_INET, AF_VSOCK);
  CHECK(!bench.scratch.toVsock.splices());
  CHECK_EQ(passInBulk(bench), splicesManyPages());
}

TEST("a source that ends while its last bytes are in a pipe: the bytes arrive, and then the EOF") {
  BenchOf<TcpPair> bench;
  bench.pump.between(AF_INET, AF_UNIX);
  const size_t pipesBefore = pipesOpen();
  const std::string data = pattern(30'000'000);
  size_t written = fillUntilInPipe(bench, data, pipesBefore);
  bench.source.theirs.reset();
  std::string received;
  while (bench.pump.state() == Pump::State::Flowing) {
    CHECK_EQ(bench.run(), 0);
    received += bench.received();
  }
  CHECK(bench.pump.state() == Pump::State::SourceDone);
  shutdownWrite(bench.sink.ours.get());
  while (received.size() < written) received += bench.received();
  CHECK(received == data.substr(0, written));
}

TEST("where splice(2) is forbidden, bytes are copied and no pipe is kept") {
  for (const int error : {EPERM, ENOSYS, EINVAL}) {
    inThread([error] {
      forbidSplice(error);
      BenchOf<TcpPair> bench;
      bench.pump.between(AF_INET, AF_UNIX);
      const std::string data = pattern(10'000'000);
      size_t written = 0;
      std::string received;
      while (received.size() < data.size()) {
        written = fill(bench.source.theirs.get(), data, written);
        CHECK_EQ(bench.run(), 0);
        received += bench.received();
      }
      CHECK(received == data);
    });
  }
}

TEST("when splice(2) is forbidden while bytes are in a pipe, these and all later bytes go through a buffer") {
  inThread([] {
    BenchOf<TcpPair> bench;
    bench.pump.between(AF_INET, AF_UNIX);
    const size_t pipesBefore = pipesOpen();
    const std::string data = pattern(30'000'000);
    size_t written = fillUntilInPipe(bench, data, pipesBefore);
    forbidSplice(EINVAL);
    std::string received;
    while (received.size() < data.size()) {
      CHECK_EQ(bench.run(), 0);
      received += bench.received();
      written = fill(bench.source.theirs.get(), data, written);
    }
    CHECK(received == data);
    CHECK_EQ(bench.pump.bytes(), data.size());
    CHECK_EQ(pipesOpen(), pipesBefore);
  });
}

TEST("bytes in a pipe that go through a buffer after all are not counted as those kept before") {
  inThread([] {
    BenchOf<TcpPair> bench;
    bench.pump.between(AF_INET, AF_UNIX);
    const size_t fresh = bench.scratch.bytes();
    const size_t pipesBefore = pipesOpen();
    const std::string data = pattern(30'000'000);
    // Too little for a pipe at once, and too much for the sink: a copy is kept, and then taken.
    size_t sent = 0;
    while (!bench.pump.wantsSink()) {
      sent += vsock_proxy::send(bench.source.theirs.get(), data.data(), 50'000).bytes;
      CHECK_EQ(bench.run(), 0);
    }
    for (size_t taken = 0; taken < sent; taken += bench.received().size()) CHECK_EQ(bench.run(), 0);
    size_t written = fillUntilInPipe(bench, data, pipesBefore);
    forbidSplice(EINVAL);
    std::string received;
    while (received.size() < data.size()) {
      CHECK_EQ(bench.run(), 0);
      received += bench.received();
      written = fill(bench.source.theirs.get(), data, written);
    }
    CHECK(received == data);
    CHECK_EQ(bench.scratch.bytes(), fresh);
  });
}

TEST("while many bytes are kept for slow sinks, each read is small") {
  constexpr size_t kBufferBytes = 64 * 1024;
  Scratch scratch({kBufferBytes, 2 * kBufferBytes, 0});
  CHECK_EQ(scratch.bytes(), kBufferBytes);
  Kept one = scratch.keep(2 * kBufferBytes);
  CHECK_EQ(scratch.bytes(), kBufferBytes);
  const Kept another = scratch.keep(1);
  CHECK(scratch.bytes() < kBufferBytes);
  one.reset();
  CHECK_EQ(scratch.bytes(), kBufferBytes);
}
