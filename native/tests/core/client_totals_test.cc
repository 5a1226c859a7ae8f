#include "../../core/client_totals.h"

#include <algorithm>

#include "../check.h"

namespace {

using namespace vsock_proxy;

Address clientAt(unsigned index) {
  const std::string ip = "10." + std::to_string(index / 65536) + "." + std::to_string(index / 256 % 256) +
                         "." + std::to_string(index % 256);
  return Address::tcp(ip, 1000);
}

}  // namespace

TEST("clients with one CID are counted together, whatever their ports, and the busiest comes first") {
  ClientTotals totals;
  totals.refused(Address::vsock(17, 5000), 3);
  totals.accepted(Address::vsock(16, 5000), 1);
  totals.accepted(Address::vsock(16, 5001), 2);
  totals.left(Address::vsock(16, 5000), 10, 20);
  const auto all = totals.read();
  CHECK_EQ(all.size(), 2u);
  CHECK_EQ(all[0].client.cid(), 16u);
  CHECK_EQ(all[0].active, 1u);
  CHECK_EQ(all[0].accepted, 2u);
  CHECK_EQ(all[0].bytesUp, 10u);
  CHECK_EQ(all[0].bytesDown, 20u);
  CHECK_EQ(all[1].refused, 1u);
  CHECK_EQ(all[1].accepted, 0u);
}

TEST("a CID and an IPv4 address of the same bytes are two clients") {
  ClientTotals totals;
  totals.accepted(Address::vsock(0x0100007f, 1), 1);
  totals.accepted(Address::tcp("127.0.0.1", 1), 1);
  CHECK_EQ(totals.read().size(), 2u);
}

TEST("the oldest clients are forgotten when new ones come, but none with an open connection") {
  ClientTotals totals;
  totals.accepted(clientAt(0), 0);
  for (unsigned i = 1; i < 20'000; ++i) totals.refused(clientAt(i), i);
  const auto all = totals.read();
  CHECK(all.size() <= 2048);
  CHECK_EQ(all[0].active, 1u);
  const std::string latest = clientAt(19'999).ip();
  CHECK(std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.client.ip() == latest; }));
  totals.left(clientAt(0), 1, 1);
}
