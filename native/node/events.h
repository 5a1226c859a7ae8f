// An engine, with the thread of JavaScript that its events go to.

#pragma once

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

  // `deliver` is called with {progress, close, fault, request, listing: event[], drained?: number}. Returns 0
  // or an errno.
  int start(const Values& js, unsigned threads, napi_value deliver);
  void stop();
  // Throws Failure where there is none.
  Engine& engine();
  // Soon, or at once where no others may follow.
  void decide(ConnectionDecision decision);

 private:
  static void onWakeup(napi_env env, napi_value deliver, void* self, void* data);
  void deliver(const Values& js, napi_value deliver);
  void sendDecisions();

  std::unique_ptr<Engine> engine_;
  napi_threadsafe_function wake_ = nullptr;
  bool delivering_ = false;
  std::vector<ConnectionDecision> decisions_;
};

}  // namespace vsock_proxy
