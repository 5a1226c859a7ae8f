// Cached decisions of one listener on one thread, for clients that send the same head.
//
// Most clients send one of the same few heads, and the control plane decides each head in the same way. If
// it permits that, the decision is kept for later clients. They need no decision request, which crosses to
// another thread and back. Only the control plane knows when two heads are equal, so it says which bytes
// count, or that only the server counts which an HTTP request names.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "loop.h"
#include "messages.h"

namespace vsock_proxy {

// Holds at most kCachedDecisions decisions by bytes and kCachedAuthorities by authority, about heads of at
// most kCachedHeadBytes.
class DecisionCache {
 public:
  // Keeps a decision about these bytes of this client, if it may be cached.
  void add(const Address& client, std::string_view bytes, const Decision& decision, Micros now);
  // The decision about a client that has sent these bytes, if there is one.
  std::optional<Decision> find(const Address& client, std::string_view bytes, Micros now) const;

 private:
  struct Entry {
    std::string client;  // its Address::clientKey
    std::string head;
    Decision decision;
    Micros until = 0;

    bool covers(const std::string& who, std::string_view bytes) const;
  };
  struct Precedent {
    Decision decision;
    Micros until = 0;
  };
  static bool keeps(const Decision& decision, std::string_view bytes);
  static std::string keyOf(const Address& client, const PlainRequest& request);
  void addPrecedent(const Address& client, std::string_view bytes, const Decision& decision, Micros now);
  std::optional<Decision> findPrecedent(const Address& client, std::string_view bytes, Micros now) const;

  std::vector<Entry> entries_;  // the oldest entry first
  std::unordered_map<std::string, Precedent> precedents_;
};

}  // namespace vsock_proxy
