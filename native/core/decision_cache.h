// Cached decisions of one listener on one thread, for clients that send the same head.
//
// Most clients send one of the same few heads, and the control plane decides each head in the same way. If
// it permits that, the decision is kept for later clients. They need no decision request, which crosses to
// another thread and back. Only the control plane knows when two heads are equal, so it says which bytes
// count.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "loop.h"
#include "messages.h"

namespace vsock_proxy {

// Holds at most kCachedDecisions decisions, about heads of at most kCachedHeadBytes.
class DecisionCache {
 public:
  // Keeps a decision about these bytes of this client, if it may be cached.
  void add(const Address& client, std::string_view bytes, const Decision& decision, Micros now);
  // The decision about a client that has sent these bytes; null if there is none.
  const Decision* find(const Address& client, std::string_view bytes, Micros now) const;

 private:
  struct Entry {
    std::string client;  // its Address::clientKey
    std::string head;
    Decision decision;
    Micros until = 0;

    bool covers(const std::string& who, std::string_view bytes) const;
  };
  static bool keeps(const Decision& decision, std::string_view bytes);

  std::vector<Entry> entries_;  // the oldest entry first
};

}  // namespace vsock_proxy
