// The totals of each client on all listeners. Any thread may call these functions.

#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "loop.h"
#include "socket.h"

namespace vsock_proxy {

struct ClientCounters {
  Address client;  // its port has no meaning
  uint64_t active = 0;
  uint64_t accepted = 0;  // without refused connections
  uint64_t refused = 0;
  uint64_t bytesUp = 0;
  uint64_t bytesDown = 0;
};

class ClientTotals {
 public:
  void accepted(const Address& client, Micros now);
  void refused(const Address& client, Micros now);
  // A connection that was `accepted` has ended.
  void left(const Address& client, uint64_t bytesUp, uint64_t bytesDown);

  // The busiest client first: by open connections, then by accepted connections.
  std::vector<ClientCounters> read() const;

 private:
  struct Entry {
    ClientCounters counters;
    Micros seenAt = 0;
  };
  Entry& entryOf(const Address& client, Micros now);
  void forgetOldest();

  mutable std::mutex mutex_;
  std::unordered_map<std::string, Entry> clients_;
};

}  // namespace vsock_proxy
