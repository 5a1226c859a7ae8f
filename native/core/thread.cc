#include "thread.h"

#include <signal.h>
#include <sys/prctl.h>
#include <time.h>

namespace vsock_proxy {

int Thread::start(const std::string& name, std::function<void()> body) {
  name_ = name;
  body_ = std::move(body);
  // A thread inherits the signal mask of the thread that makes it.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &before);
  const int error = pthread_create(
      &thread_, nullptr,
      [](void* self) -> void* {
        auto* thread = static_cast<Thread*>(self);
        prctl(PR_SET_NAME, thread->name_.c_str());
        thread->body_();
        return nullptr;
      },
      this);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  started_ = error == 0;
  return error;
}

void Thread::join() {
  if (started_) pthread_join(thread_, nullptr);
  started_ = false;
}

double Thread::cpuSeconds() const {
  clockid_t clock;
  timespec spent{};
  if (!started_ || pthread_getcpuclockid(thread_, &clock) != 0 || clock_gettime(clock, &spent) != 0) return 0;
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

int64_t threadMicros() {
  timespec spent{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return int64_t{spent.tv_sec} * 1'000'000 + spent.tv_nsec / 1000;
}

}  // namespace vsock_proxy
