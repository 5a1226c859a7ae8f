// Limits reports of troubles that may come in floods: each is reported at once, and then in one summary per
// period.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "../core/loop.h"

namespace vsock_proxy {

class Throttle {
 public:
  // Reports what happened since the last time, with `times` reports. Returns whether the trouble goes on.
  using Again = std::function<bool(size_t times)>;

  Throttle(Loop& loop, Micros period) : loop_(loop), period_(period) {}
  ~Throttle() { clear(); }

  // Reports with the same key belong to the same trouble. `first` reports it for the first time. Returns
  // whether it did.
  bool report(const std::string& key, const std::function<void()>& first, Again again);
  // Reports everything that is not reported yet.
  void stop();

 private:
  // The periods of a trouble begin with the trouble, independently of others.
  struct Open {
    size_t times;
    Again again;
    Timer timer;
  };
  void onPeriod(const std::string& key);
  void clear();

  Loop& loop_;
  const Micros period_;
  std::map<std::string, std::unique_ptr<Open>> open_;
};

}  // namespace vsock_proxy
