// The event loop of one relay thread: readiness, timers and tasks from other threads.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "scratch.h"
#include "socket.h"

namespace vsock_proxy {

// Microseconds of CLOCK_MONOTONIC.
using Micros = int64_t;

// A descriptor's place in a loop. Level-triggered: an event comes again for as long as it holds. One
// that was unwatched in this round may still hear of an event of it: retire it, and let it remember.
class Watch {
 public:
  virtual void onReady(uint32_t events) = 0;

 protected:
  ~Watch() = default;
};

// A deadline. Disarm it before it is destroyed.
class Timer {
 public:
  explicit Timer(std::function<void()> fire) : fire_(std::move(fire)) {}
  bool armed() const { return place_ != kNowhere; }

 private:
  friend class Loop;
  static constexpr size_t kNowhere = SIZE_MAX;
  std::function<void()> fire_;
  Micros at_ = 0;
  size_t place_ = kNowhere;  // in the loop's heap
};

// Belongs to the thread that calls `run`; only `post` and `stop` may be called from others.
class Loop {
 public:
  explicit Loop(ScratchSize scratch = {}) : scratch_(scratch) {}

  // The errno that kept the loop from being made, or 0.
  int open();
  // Runs until `stop`.
  void run();
  void stop();
  // Has `task` run on the loop's thread, in order of posting.
  void post(std::function<void()> task);

  int watch(int fd, uint32_t events, Watch& watch) { return pollAdd(poller_.get(), fd, events, &watch); }
  int rewatch(int fd, uint32_t events, Watch& watch) { return pollModify(poller_.get(), fd, events, &watch); }
  void unwatch(int fd) { pollRemove(poller_.get(), fd); }

  // The time at which this round of the loop began.
  Micros now() const { return now_; }
  void arm(Timer& timer, Micros at);
  void disarm(Timer& timer);

  Scratch& scratch() { return scratch_; }
  // Held while clients are accepted, for the other half of the connection.
  Reserve& reserve() { return reserve_; }

  // Keeps `object` until no event of this round can reach it any more.
  template <class T>
  void retire(std::unique_ptr<T> object) {
    retired_.push_back(std::move(object));
  }
  // Called at the end of each round.
  std::function<void()> onRoundEnd;

 private:
  void runTasks();
  void fireTimers();
  int waitMs() const;
  void place(size_t index, Timer* timer);
  void siftUp(size_t index);
  void siftDown(size_t index);

  UniqueFd poller_;
  UniqueFd wakeup_;
  Scratch scratch_;
  Reserve reserve_;
  Micros now_ = 0;
  bool running_ = true;
  std::vector<Timer*> heap_;  // the earliest deadline first
  std::vector<std::shared_ptr<void>> retired_;

  std::mutex tasksMutex_;
  std::vector<std::function<void()>> tasks_;
};

}  // namespace vsock_proxy
