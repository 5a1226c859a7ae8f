#include "throttle.h"

namespace vsock_proxy {

void Throttle::report(const std::string& key, const std::function<void()>& first, Again again) {
  const auto known = open_.find(key);
  if (known != open_.end()) {
    ++known->second.times;
    return;
  }
  first();
  open_.emplace(key, Open{0, std::move(again)});
  if (!timer_.armed()) loop_.arm(timer_, loop_.now() + period_);
}

void Throttle::stop() {
  loop_.disarm(timer_);
  for (const auto& [key, trouble] : open_) {
    if (trouble.times != 0) trouble.again(trouble.times);
  }
  open_.clear();
}

void Throttle::onPeriod() {
  for (auto trouble = open_.begin(); trouble != open_.end();) {
    const bool goesOn = trouble->second.again(trouble->second.times);
    trouble->second.times = 0;
    trouble = goesOn ? std::next(trouble) : open_.erase(trouble);
  }
  if (!open_.empty()) loop_.arm(timer_, loop_.now() + period_);
}

}  // namespace vsock_proxy
