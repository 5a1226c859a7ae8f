#include "client_totals.h"

#include <algorithm>
#include <tuple>

namespace vsock_proxy {
namespace {

// At least this many clients are kept. Between this number and twice as many, those that were gone for the
// longest time are dropped, because one peer can have more IP addresses.
constexpr size_t kMostClients = 1024;

// The key of a client, as for the limits per client, on listeners of all families.
std::string keyOf(const Address& client) {
  return std::string(1, static_cast<char>(client.family())) + client.clientKey();
}

}  // namespace

void ClientTotals::accepted(const Address& client, Micros now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ClientCounters& counters = entryOf(client, now).counters;
  ++counters.accepted;
  ++counters.active;
}

void ClientTotals::refused(const Address& client, Micros now) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++entryOf(client, now).counters.refused;
}

void ClientTotals::left(const Address& client, uint64_t bytesUp, uint64_t bytesDown) {
  const std::lock_guard<std::mutex> lock(mutex_);
  // A client with an open connection is never dropped.
  ClientCounters& counters = clients_.find(keyOf(client))->second.counters;
  --counters.active;
  counters.bytesUp += bytesUp;
  counters.bytesDown += bytesDown;
}

ClientTotals::Entry& ClientTotals::entryOf(const Address& client, Micros now) {
  if (clients_.size() >= 2 * kMostClients) forgetOldest();
  const auto [place, isNew] = clients_.try_emplace(keyOf(client));
  Entry& entry = place->second;
  if (isNew) entry.counters.client = client;
  entry.seenAt = now;
  return entry;
}

void ClientTotals::forgetOldest() {
  std::vector<Micros> seen;
  for (const auto& [key, entry] : clients_) {
    if (entry.counters.active == 0) seen.push_back(entry.seenAt);
  }
  if (seen.empty()) return;
  const size_t count = std::min(seen.size(), clients_.size() - kMostClients);
  std::nth_element(seen.begin(), seen.begin() + static_cast<std::ptrdiff_t>(count - 1), seen.end());
  const Micros newest = seen[count - 1];
  for (auto client = clients_.begin(); client != clients_.end();) {
    const Entry& entry = client->second;
    const bool gone = entry.counters.active == 0 && entry.seenAt <= newest;
    client = gone ? clients_.erase(client) : std::next(client);
  }
}

std::vector<ClientCounters> ClientTotals::read() const {
  std::vector<ClientCounters> all;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    all.reserve(clients_.size());
    for (const auto& [key, entry] : clients_) all.push_back(entry.counters);
  }
  std::sort(all.begin(), all.end(), [](const ClientCounters& one, const ClientCounters& other) {
    return std::tie(one.active, one.accepted) > std::tie(other.active, other.accepted);
  });
  return all;
}

}  // namespace vsock_proxy
