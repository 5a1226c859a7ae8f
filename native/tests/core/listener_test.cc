// The counts of a listener: each close reason against each limit.

#include "../../core/listener.h"

#include "../check.h"

using namespace vsock_proxy;

namespace {

constexpr Micros kSecond = 1000 * 1000;
const Address kClient = Address::tcp("192.0.2.7", 4711);

ListenSpec limited(uint32_t connections, uint32_t perClient, uint32_t rate) {
  ListenSpec spec;
  spec.limits.connections = connections;
  spec.limits.connectionsPerClient = perClient;
  spec.limits.ratePerClient = rate;
  return spec;
}

std::vector<CloseReason> everyReason() {
  std::vector<CloseReason> all;
  for (size_t i = 0; i < countOf<CloseReason>(); ++i) all.push_back(static_cast<CloseReason>(i));
  return all;
}

ClientTotals clients;

void leave(ListenerState& listener, CloseReason reason) {
  CloseRecord record;
  record.client = kClient;
  record.reason = reason;
  listener.leave(record);
}

// Admits a client. Returns the refusal, if there is one; the client has left then, as the gate does it.
std::optional<Refusal> come(ListenerState& listener, Micros now) {
  CHECK(listener.enter());
  listener.entered(now);
  const auto refusal = listener.admit(kClient, now);
  if (refusal) leave(listener, as<CloseReason>(*refusal));
  return refusal;
}

}  // namespace

TEST("every close reason frees the places of its connection only") {
  for (const CloseReason reason : everyReason()) {
    ListenerState listener(1, limited(3, 2, 0), nullptr, clients);
    CHECK(!come(listener, 1));  // stays
    for (int i = 0; i < 5; ++i) {
      CHECK(listener.enter());
      listener.entered(1);
      // A refused client takes no place of its client's. Any other takes the second.
      if (!refusedAtAccept(reason)) CHECK(!listener.admit(kClient, 1));
      leave(listener, reason);
      CHECK_EQ(listener.active(), 1u);
    }
    CHECK_EQ(listener.counters().closed[static_cast<size_t>(reason)], 5u);
    CHECK(!come(listener, 1));
    CHECK(come(listener, 1) == Refusal::ClientLimit);  // the one that stayed still counts
    CHECK(listener.enter());                           // and no more than two have places
    CHECK(!listener.enter());
  }
}

TEST("no close reason changes the rate of its client") {
  for (const CloseReason reason : everyReason()) {
    if (refusedAtAccept(reason)) continue;
    ListenerState listener(1, limited(10, 1, 2), nullptr, clients);
    for (int i = 0; i < 2; ++i) {
      CHECK(!come(listener, 1));
      leave(listener, reason);
    }
    CHECK(come(listener, 1) == Refusal::ClientRate);
    CHECK(!come(listener, 1 + kSecond / 2));
    CHECK(come(listener, 1 + kSecond / 2) == Refusal::ClientLimit);
  }
}

TEST("every close reason frees the place at the successor of the listener, too") {
  for (const CloseReason reason : everyReason()) {
    if (refusedAtAccept(reason)) continue;
    ListenerState predecessor(1, limited(10, 1, 0), nullptr, clients);
    CHECK(!come(predecessor, 1));
    ListenerState successor(2, limited(10, 1, 0), &predecessor, clients);
    CHECK(come(successor, 1) == Refusal::ClientLimit);
    leave(predecessor, reason);
    CHECK(!come(successor, 1));
  }
}
