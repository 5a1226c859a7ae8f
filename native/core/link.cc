#include "link.h"

#include <algorithm>
#include <cerrno>

namespace vsock_proxy {
namespace {

// The most reads before a close(2) in order.
constexpr int kMostDiscards = 16;

}  // namespace

Link::Link(Loop& on, LinkObserver& observer, UniqueFd accepted, const ConnectionTimeouts& limits)
    : loop(on),
      timeouts(limits),
      activeAt(on.now()),
      deadline([&observer] { observer.onDeadline(); }),
      client(observer),
      server(observer) {
  client.fd = std::move(accepted);
}

int Link::watch(Side& side, bool watched, uint32_t interest) {
  if (watched == side.watched && interest == side.interest) return 0;
  int error = 0;
  if (!watched) {
    loop.unwatch(side.fd.get());
  } else if (!side.watched) {
    error = loop.watch(side.fd.get(), interest, side);
  } else {
    error = loop.rewatch(side.fd.get(), interest, side);
  }
  side.watched = watched;
  side.interest = interest;
  return error;
}

int Link::move(Pump& pump, Side& source, Side& sink) {
  const uint64_t before = pump.bytes();
  const int error = pump.run(source.fd.get(), sink.fd.get(), loop.scratch());
  if (pump.bytes() != before) activeAt = loop.now();
  return error;
}

void Link::discardUnread(const Side& side, const Pump& from) {
  if (from.state() == Pump::State::SourceDone) return;
  for (int i = 0; i < kMostDiscards; ++i) {
    if (receive(side.fd.get(), loop.scratch().buffer(), loop.scratch().bytes()).bytes == 0) return;
  }
}

int Link::resetBehindEof(const Side& source, const Pump& reverse, sa_family_t family) {
  if (reverse.sinkError() != 0 && reverse.sinkError() != EPIPE) return reverse.sinkError();
  return family == AF_VSOCK ? connectOutcome(source.fd.get()) : 0;
}

void Link::close(Side& side) {
  if (side.watched) loop.close(side.fd);
  side.fd.reset();
  side.watched = side.hungUp = side.keptAlive = false;
  side.interest = 0;
}

void Link::keepAliveIfQuiet() {
  if (activeAt + timeouts.quiet > loop.now()) return;
  for (Side* side : {&client, &server}) {
    if (side->fd && !side->keptAlive) keepAlive(side->fd.get());
    side->keptAlive = true;
  }
}

void Link::armQuietDeadline(Micros atLatest) {
  const Micros quiet = std::min(loop.now() + timeouts.quiet, atLatest);
  loop.arm(deadline, timeouts.idle == 0 ? quiet : std::min(quiet, activeAt + timeouts.idle));
}

}  // namespace vsock_proxy
