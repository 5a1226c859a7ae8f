#include "decision_cache.h"

#include <algorithm>

namespace vsock_proxy {

bool DecisionCache::Entry::covers(const std::string& who, std::string_view bytes) const {
  if (client != who || bytes.size() < head.size()) return false;
  size_t from = 0;
  const auto isSameUpTo = [&](size_t to) {
    return bytes.compare(from, to - from, head, from, to - from) == 0;
  };
  for (const CacheRule::Range& range : decision.cache.except) {
    if (!isSameUpTo(range.from)) return false;
    from = range.to;
  }
  return isSameUpTo(head.size());
}

// Whether the rule allows caching, and is valid.
bool DecisionCache::keeps(const Decision& decision, std::string_view bytes) {
  const CacheRule& cache = decision.cache;
  if (cache.lasts <= 0 || cache.bytes > std::min(bytes.size(), kCachedHeadBytes)) return false;
  size_t at = 0;
  for (const CacheRule::Range& range : cache.except) {
    if (range.from < at || range.to < range.from) return false;
    at = range.to;
  }
  return std::max(at, decision.consume) <= cache.bytes;
}

void DecisionCache::add(const Address& client, std::string_view bytes, const Decision& decision, Micros now) {
  if (!keeps(decision, bytes)) return;
  const std::string who = client.clientKey();
  const auto isReplaced = [&](const Entry& entry) { return entry.until <= now || entry.covers(who, bytes); };
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(), isReplaced), entries_.end());
  if (entries_.size() == kCachedDecisions) entries_.erase(entries_.begin());
  const CacheRule& cache = decision.cache;
  entries_.push_back({who, std::string(bytes.substr(0, cache.bytes)), decision, now + cache.lasts});
}

const Decision* DecisionCache::find(const Address& client, std::string_view bytes, Micros now) const {
  if (entries_.empty()) return nullptr;
  const std::string who = client.clientKey();
  for (const Entry& entry : entries_) {
    if (entry.until > now && entry.covers(who, bytes)) return &entry.decision;
  }
  return nullptr;
}

}  // namespace vsock_proxy
