#include "throttle.h"

namespace vsock_proxy {

bool Throttle::report(const std::string& key, const std::function<void()>& first, Again again) {
  const auto known = open_.find(key);
  if (known != open_.end()) {
    ++known->second->times;
    return false;
  }
  first();
  std::unique_ptr<Open> trouble(new Open{0, std::move(again), Timer([this, key] { onPeriod(key); })});
  loop_.arm(trouble->timer, loop_.now() + period_);
  open_.emplace(key, std::move(trouble));
  return true;
}

void Throttle::stop() {
  for (const auto& [key, trouble] : open_) {
    if (trouble->times != 0) trouble->again(trouble->times);
  }
  clear();
}

void Throttle::onPeriod(const std::string& key) {
  const auto known = open_.find(key);
  Open& trouble = *known->second;
  const bool goesOn = trouble.again(trouble.times);
  trouble.times = 0;
  if (goesOn) {
    loop_.arm(trouble.timer, loop_.now() + period_);
    return;
  }
  loop_.retire(std::move(known->second));  // its timer is the caller
  open_.erase(known);
}

void Throttle::clear() {
  for (const auto& [key, trouble] : open_) loop_.disarm(trouble->timer);
  open_.clear();
}

}  // namespace vsock_proxy
