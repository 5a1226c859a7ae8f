#include "precedents.h"

#include <algorithm>

namespace vsock_proxy {

bool Precedents::Entry::covers(const std::string& who, std::string_view bytes) const {
  if (client != who || bytes.size() < head.size()) return false;
  size_t from = 0;
  const auto isSameUpTo = [&](size_t to) {
    return bytes.compare(from, to - from, head, from, to - from) == 0;
  };
  for (const Precedent::Range& range : verdict.precedent.except) {
    if (!isSameUpTo(range.from)) return false;
    from = range.to;
  }
  return isSameUpTo(head.size());
}

// Whether it is one, and one that can be kept.
bool Precedents::keeps(const Verdict& verdict, std::string_view bytes) {
  const Precedent& precedent = verdict.precedent;
  if (precedent.lasts <= 0 || precedent.bytes > std::min(bytes.size(), kLongestHead)) return false;
  size_t at = 0;
  for (const Precedent::Range& range : precedent.except) {
    if (range.from < at || range.to < range.from) return false;
    at = range.to;
  }
  return std::max(at, verdict.consume) <= precedent.bytes;
}

void Precedents::add(const Address& client, std::string_view bytes, const Verdict& verdict, Micros now) {
  if (!keeps(verdict, bytes)) return;
  const std::string who = client.clientKey();
  const auto isReplaced = [&](const Entry& entry) { return entry.until <= now || entry.covers(who, bytes); };
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(), isReplaced), entries_.end());
  if (entries_.size() == kMost) entries_.erase(entries_.begin());
  const Precedent& precedent = verdict.precedent;
  entries_.push_back({who, std::string(bytes.substr(0, precedent.bytes)), verdict, now + precedent.lasts});
}

const Verdict* Precedents::find(const Address& client, std::string_view bytes, Micros now) const {
  if (entries_.empty()) return nullptr;
  const std::string who = client.clientKey();
  for (const Entry& entry : entries_) {
    if (entry.until > now && entry.covers(who, bytes)) return &entry.verdict;
  }
  return nullptr;
}

}  // namespace vsock_proxy
