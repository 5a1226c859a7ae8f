// Decisions that hold for a while for every client who says the same: those of one listener, on one
// thread.
//
// The control plane is asked about most clients with the same few heads, and gives the same decisions. Where
// it allows that, such a decision is kept for later clients, who are spared the way to the other thread and
// back. What makes two heads equal only the control plane knows: it says which bytes count.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "loop.h"
#include "messages.h"

namespace vsock_proxy {

// At most kCachedDecisions are kept, of heads of at most kCachedHeadBytes.
class DecisionCache {
 public:
  // Keeps a decision on these bytes of this client, if it may be cached.
  void add(const Address& client, std::string_view bytes, const Decision& decision, Micros now);
  // The decision on a client who has sent these bytes; null if there is none.
  const Decision* find(const Address& client, std::string_view bytes, Micros now) const;

 private:
  struct Entry {
    std::string client;  // by Address::clientKey
    std::string head;
    Decision decision;
    Micros until = 0;

    bool covers(const std::string& who, std::string_view bytes) const;
  };
  static bool keeps(const Decision& decision, std::string_view bytes);

  std::vector<Entry> entries_;  // the oldest first
};

}  // namespace vsock_proxy
