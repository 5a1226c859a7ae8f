#include "../../core/trial.h"

#include "../check.h"

using namespace vsock_proxy;

namespace {

constexpr uint64_t kMiB = 1024 * 1024;

// One trial from its start, in which a MiB takes so many microseconds. A turn that is not measured says the
// opposite.
void tryOut(Trial& trial, int64_t copied, int64_t spliced) {
  for (const bool splices : {false, true}) {
    for (uint32_t i = 0; i < Trial::kUnmeasured + Trial::kMeasured; ++i) {
      CHECK_EQ(trial.splices(), splices);
      CHECK_EQ(trial.measures(), i >= Trial::kUnmeasured);
      trial.turned(kMiB, splices == trial.measures() ? spliced : copied);
    }
  }
}

// Goes on to the start of the next trial. Returns for how many turns the last one's outcome held.
uint32_t rest(Trial& trial) {
  const bool splices = trial.splices();
  uint32_t turns = 0;
  for (Trial next = trial;; ++turns) {
    // The next trial begins with these turns, and then it is measured.
    for (uint32_t i = 0; i < Trial::kUnmeasured; ++i) next.turned(kMiB, 0);
    if (next.measures()) return turns;
    CHECK_EQ(trial.splices(), splices);
    trial.turned(kMiB, 0);
    next = trial;
  }
}

}  // namespace

TEST("the cheaper way is taken after a trial, which says nothing about it while it goes on") {
  for (const bool splicesBest : {false, true}) {
    Trial trial;
    tryOut(trial, splicesBest ? 510 : 500, splicesBest ? 500 : 510);
    CHECK_EQ(trial.splices(), splicesBest);
    CHECK(!trial.measures());
  }
}

TEST("trials with the same outcome become rare, and another outcome makes them frequent again") {
  Trial trial;
  for (uint32_t turns = Trial::kFirstRest; turns < Trial::kLongestRest; turns *= 2) {
    tryOut(trial, 600, 500);
    CHECK_EQ(rest(trial), turns);
  }
  for (int i = 0; i < 2; ++i) {
    tryOut(trial, 600, 500);
    CHECK_EQ(rest(trial), Trial::kLongestRest);
  }
  tryOut(trial, 500, 600);
  CHECK_EQ(rest(trial), Trial::kFirstRest);
  tryOut(trial, 500, 600);
  CHECK_EQ(rest(trial), 2 * Trial::kFirstRest);
}

TEST("turns that move nothing decide nothing") {
  Trial trial;
  for (uint32_t i = 0; i < 2 * (Trial::kUnmeasured + Trial::kMeasured); ++i) trial.turned(0, 0);
  CHECK(!trial.splices());
}
