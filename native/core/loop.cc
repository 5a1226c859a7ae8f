#include "loop.h"

#include <algorithm>
#include <cerrno>

namespace vsock_proxy {
namespace {

constexpr int kEventsPerRound = 128;
constexpr Micros kMicrosPerMs = 1000;

}  // namespace

int Loop::open() {
  Opened poller = makePoller();
  Opened wakeup = makeWakeup();
  if (!poller.fd || !wakeup.fd) return poller.fd ? wakeup.error : poller.error;
  poller_ = std::move(poller.fd);
  wakeup_ = std::move(wakeup.fd);
  now_ = monotonicMicros();
  return pollAdd(poller_.get(), wakeup_.get(), EPOLLIN, nullptr);
}

void Loop::run() {
  epoll_event events[kEventsPerRound];
  while (running_) {
    const int count = pollWait(poller_.get(), events, kEventsPerRound, waitMs());
    now_ = monotonicMicros();
    // Tasks come first: a task that was posted before a client came takes effect for that client.
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr == nullptr) runTasks();
    }
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr != nullptr) static_cast<Watch*>(events[i].data.ptr)->onReady(events[i].events);
    }
    fireTimers();
    if (onRoundEnd) onRoundEnd();
    retired_.clear();
  }
}

void Loop::stop() {
  post([this] { running_ = false; });
}

void Loop::post(std::function<void()> task) {
  bool wasEmpty = false;
  {
    const std::lock_guard<std::mutex> lock(tasksMutex_);
    wasEmpty = tasks_.empty();
    tasks_.push_back(std::move(task));
  }
  if (wasEmpty) wake(wakeup_.get());
}

void Loop::runTasks() {
  clearWakeup(wakeup_.get());
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard<std::mutex> lock(tasksMutex_);
    tasks.swap(tasks_);
  }
  for (const auto& task : tasks) task();
}

void Loop::arm(Timer& timer, Micros at) {
  timer.at_ = at;
  if (!timer.armed()) {
    heap_.push_back(&timer);
    timer.place_ = heap_.size() - 1;
  }
  siftUp(timer.place_);
  siftDown(timer.place_);
}

void Loop::disarm(Timer& timer) {
  if (!timer.armed()) return;
  const size_t index = timer.place_;
  timer.place_ = Timer::kNowhere;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  place(index, last);
  siftUp(index);
  siftDown(last->place_);
}

void Loop::fireTimers() {
  while (!heap_.empty() && heap_.front()->at_ <= now_) {
    Timer* timer = heap_.front();
    disarm(*timer);
    timer->fire_();
  }
}

int Loop::waitMs() const {
  if (heap_.empty()) return -1;
  // By the clock of this round: asking it anew may take longer than what the round has taken.
  const Micros left = heap_.front()->at_ - now_;
  return static_cast<int>(std::clamp<Micros>((left + kMicrosPerMs - 1) / kMicrosPerMs, 0, INT32_MAX));
}

void Loop::place(size_t index, Timer* timer) {
  heap_[index] = timer;
  timer->place_ = index;
}

void Loop::siftUp(size_t index) {
  Timer* timer = heap_[index];
  for (; index > 0; index = (index - 1) / 2) {
    Timer* parent = heap_[(index - 1) / 2];
    if (parent->at_ <= timer->at_) break;
    place(index, parent);
  }
  place(index, timer);
}

void Loop::siftDown(size_t index) {
  Timer* timer = heap_[index];
  for (;;) {
    size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->at_ < heap_[child]->at_) ++child;
    if (heap_[child]->at_ >= timer->at_) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, timer);
}

}  // namespace vsock_proxy
