// A thread that receives no signals; they go to the thread that made it.

#pragma once

#include <pthread.h>

#include <cstdint>
#include <functional>
#include <string>

namespace vsock_proxy {

class Thread {
 public:
  Thread() = default;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;
  ~Thread() { join(); }

  // Runs `body` in a new thread. `name`: at most 15 bytes, shown by ps -L. Returns 0 or an errno.
  int start(const std::string& name, std::function<void()> body);
  void join();
  // The processor time of the thread; 0 if it does not run.
  double cpuSeconds() const;

 private:
  std::string name_;
  std::function<void()> body_;
  pthread_t thread_{};
  bool started_ = false;
};

// The processor time of the calling thread, in microseconds.
int64_t threadMicros();

}  // namespace vsock_proxy
