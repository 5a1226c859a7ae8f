#include <string>
#include <thread>
#include <vector>

#include "../../core/loop.h"
#include "../check.h"

using namespace vsock_proxy;

TEST("timers fire in order of their deadlines, however they were armed, moved and disarmed") {
  Loop loop;
  CHECK_EQ(loop.open(), 0);
  constexpr int kTimers = 300;
  std::vector<int> fired;
  std::vector<std::unique_ptr<Timer>> timers;
  for (int i = 0; i < kTimers; ++i) {
    timers.push_back(std::make_unique<Timer>([&fired, i] { fired.push_back(i); }));
  }
  const Micros start = loop.now();
  // Deadlines in a scrambled order, then every third moved behind all others, every seventh disarmed.
  for (int i = 0; i < kTimers; ++i)
    loop.arm(*timers[static_cast<size_t>(i * 7 % kTimers)], start + i * 7 % kTimers);
  for (int i = 0; i < kTimers; i += 3) loop.arm(*timers[static_cast<size_t>(i)], start + kTimers + i);
  for (int i = 0; i < kTimers; i += 7) loop.disarm(*timers[static_cast<size_t>(i)]);
  Timer last([&loop] { loop.stop(); });
  loop.arm(last, start + 3 * kTimers);
  loop.run();

  std::vector<int> expected;
  for (int i = 0; i < kTimers; ++i) {
    if (i % 3 != 0 && i % 7 != 0) expected.push_back(i);
  }
  for (int i = 0; i < kTimers; i += 3) {
    if (i % 7 != 0) expected.push_back(i);
  }
  CHECK(fired == expected);
  for (const auto& timer : timers) CHECK(!timer->armed());
}

TEST("tasks of another thread run on the loop's thread, all of them and in order") {
  Loop loop;
  CHECK_EQ(loop.open(), 0);
  std::vector<int> ran;
  std::thread poster([&] {
    for (int i = 0; i < 10'000; ++i) loop.post([&ran, i] { ran.push_back(i); });
    loop.stop();
  });
  loop.run();
  poster.join();
  CHECK_EQ(ran.size(), 10'000u);
  for (int i = 0; i < 10'000; ++i) CHECK_EQ(ran[static_cast<size_t>(i)], i);
}

TEST("a retired object lives until the round has ended") {
  Loop loop;
  CHECK_EQ(loop.open(), 0);
  struct Witness {
    explicit Witness(bool& gone) : gone(gone) {}
    ~Witness() { gone = true; }
    bool& gone;
  };
  bool gone = false;
  int rounds = 0;
  bool goneAtRoundEnd = true;
  loop.onRoundEnd = [&] {
    if (++rounds == 1) goneAtRoundEnd = gone;
    loop.stop();
  };
  loop.post([&] { loop.retire(std::make_unique<Witness>(gone)); });
  loop.run();
  CHECK(!goneAtRoundEnd);
  CHECK(gone);
}
