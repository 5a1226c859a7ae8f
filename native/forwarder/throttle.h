// Reports troubles that may come in floods: each at once, and then in one summary a period until it is over.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "../core/loop.h"

namespace vsock_proxy {

class Throttle {
 public:
  // Says what happened since the last time, `times` of it reported here. Returns whether it goes on.
  using Again = std::function<bool(size_t times)>;

  Throttle(Loop& loop, Micros period) : loop_(loop), period_(period) {}
  ~Throttle() { clear(); }

  // Troubles with the same key are the same one. `first` says it, the first time: returns whether it was.
  bool report(const std::string& key, const std::function<void()>& first, Again again);
  // Says what has not been said yet.
  void stop();

 private:
  // A trouble's periods begin when it does, whatever others there are.
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
