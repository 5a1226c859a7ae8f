// An engine, with the JavaScript function that receives its events.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "../core/engine.h"
#include "values.h"

namespace vsock_proxy {

class Plane {
 public:
  Plane() = default;
  Plane(const Plane&) = delete;
  Plane& operator=(const Plane&) = delete;

  // Any thread calls `wake` when there are events to deliver. Returns 0 or an errno.
  int start(unsigned threads, std::function<void()> wake);
  void stop() { engine_.reset(); }
  // Throws Failure if there is none.
  Engine& engine();
  // Delivers soon, or at once if no further events may follow.
  void decide(ConnectionDecision decision);
  // On the thread of JavaScript: calls `deliver` with {progress, close, fault, request, listing: event[],
  // drained?: number}.
  void deliver(const Values& js, Value deliver);

 private:
  void sendDecisions();

  std::unique_ptr<Engine> engine_;
  bool delivering_ = false;
  std::vector<ConnectionDecision> decisions_;
};

}  // namespace vsock_proxy
