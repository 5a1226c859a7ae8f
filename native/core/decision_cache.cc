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
  if (decision.cache.byAuthority) return addPrecedent(client, bytes, decision, now);
  if (!keeps(decision, bytes)) return;
  const std::string who = client.clientKey();
  const auto isReplaced = [&](const Entry& entry) { return entry.until <= now || entry.covers(who, bytes); };
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(), isReplaced), entries_.end());
  if (entries_.size() == kCachedDecisions) entries_.erase(entries_.begin());
  const CacheRule& cache = decision.cache;
  entries_.push_back({who, std::string(bytes.substr(0, cache.bytes)), decision, now + cache.lasts});
}

std::optional<Decision> DecisionCache::find(const Address& client, std::string_view bytes, Micros now) const {
  if (!precedents_.empty()) {
    if (std::optional<Decision> known = findPrecedent(client, bytes, now)) return known;
  }
  if (entries_.empty()) return std::nullopt;
  const std::string who = client.clientKey();
  for (const Entry& entry : entries_) {
    if (entry.until > now && entry.covers(who, bytes)) return entry.decision;
  }
  return std::nullopt;
}

// No authority has a NUL.
std::string DecisionCache::keyOf(const Address& client, const PlainRequest& request) {
  std::string key(1, request.tunnel ? 't' : 'g');
  ((key += request.authority) += '\0') += client.clientKey();
  return key;
}

void DecisionCache::addPrecedent(const Address& client, std::string_view bytes, const Decision& decision,
                                 Micros now) {
  const std::optional<PlainRequest> request = readPlainRequest(bytes);
  if (!request || request->tunnel != (decision.action == Action::Connect) || decision.cache.lasts <= 0)
    return;
  if (precedents_.size() >= kCachedAuthorities) {
    for (auto one = precedents_.begin(); one != precedents_.end();) {
      one = one->second.until <= now ? precedents_.erase(one) : std::next(one);
    }
    if (precedents_.size() >= kCachedAuthorities) precedents_.erase(precedents_.begin());
  }
  precedents_[keyOf(client, *request)] = {decision, now + decision.cache.lasts};
}

std::optional<Decision> DecisionCache::findPrecedent(const Address& client, std::string_view bytes,
                                                     Micros now) const {
  const std::optional<PlainRequest> request = readPlainRequest(bytes);
  if (!request) return std::nullopt;
  const auto known = precedents_.find(keyOf(client, *request));
  if (known == precedents_.end() || known->second.until <= now) return std::nullopt;
  Decision decision = known->second.decision;
  decision.consume = request->bytes;
  if (!request->tunnel) {
    decision.plain = {std::string(bytes.substr(0, request->bytes)), request->keepAlive};
    decision.persistent &= request->keepAlive;
    decision.toServer = writeRequest(*request, decision.cache.form, !decision.persistent);
  }
  return decision;
}

}  // namespace vsock_proxy
