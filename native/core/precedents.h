// Verdicts that hold for a while for every client who says the same: those of one listener, on one
// thread.
//
// The control plane is asked about most clients with the same few heads, and gives the same verdicts. Where
// it allows that, such a verdict is kept for later clients, who are spared the way to the other thread and
// back. What makes two heads equal only the control plane knows: it says which bytes count.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "loop.h"
#include "messages.h"

namespace vsock_proxy {

class Precedents {
 public:
  // At most so many are kept, of heads that are no longer.
  static constexpr size_t kMost = 32;
  static constexpr size_t kLongestHead = 4096;

  // Keeps a verdict on these bytes of this client, if it is a precedent.
  void add(const Address& client, std::string_view bytes, const Verdict& verdict, Micros now);
  // The verdict on a client who has sent these bytes; null if there is none.
  const Verdict* find(const Address& client, std::string_view bytes, Micros now) const;

 private:
  struct Entry {
    std::string client;  // by Address::clientKey
    std::string head;
    Verdict verdict;
    Micros until = 0;

    bool covers(const std::string& who, std::string_view bytes) const;
  };
  static bool keeps(const Verdict& verdict, std::string_view bytes);

  std::vector<Entry> entries_;  // the oldest first
};

}  // namespace vsock_proxy
