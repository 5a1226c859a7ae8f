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

// A descriptor in a loop. Events are level-triggered: they repeat as long as they hold. After `unwatch`, an
// event of the same round may still arrive. So the object must be retired, and must remember that it is
// unwatched.
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
  size_t place_ = kNowhere;  // its place in the loop's heap
};

// Belongs to the thread that calls `run`. Other threads may only call `post` and `stop`.
class Loop {
 public:
  explicit Loop(ScratchSize scratch = {}) : scratch_(scratch) {}

  // The errno if the loop could not be made, otherwise 0.
  int open();
  // Runs until `stop`.
  void run();
  void stop();
  // Runs `task` on the loop's thread. Tasks run in the order of `post`.
  void post(std::function<void()> task);

  int watch(int fd, uint32_t events, Watch& watch) { return pollAdd(poller_.get(), fd, events, &watch); }
  int rewatch(int fd, uint32_t events, Watch& watch) { return pollModify(poller_.get(), fd, events, &watch); }
  void unwatch(int fd) { pollRemove(poller_.get(), fd); }
  // Closes a watched descriptor. close(2) alone ends the watch only if nobody has a copy of the descriptor,
  // and a child process has copies of all until it calls exec(3): see epoll(7), Q6.
  void close(UniqueFd& watched) {
    unwatch(watched.get());
    watched.reset();
  }

  // The time when this round of the loop began.
  Micros now() const { return now_; }
  void arm(Timer& timer, Micros at);
  void disarm(Timer& timer);

  Scratch& scratch() { return scratch_; }
  // A descriptor in reserve, which is held while clients are accepted, for the other half of the
  // connection.
  Reserve& reserve() { return reserve_; }

  // Keeps `object` until no event of this round can reach it.
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
