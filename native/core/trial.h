// Which of two ways to move bulk costs less: copies, or splice(2)? From TCP to vsock the answer is the
// kernel's (docs/decisions/0009-splice.md), so it is found out on the machine. Now and then, some turns go
// each way, and their processor time is measured. The cheaper way is taken until the next trial.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace vsock_proxy {

class Trial {
 public:
  // Turns of each way in a trial. The first ones deliver what the other way has left behind, and are not
  // measured.
  static constexpr uint32_t kMeasured = 32;
  static constexpr uint32_t kUnmeasured = 4;
  // Turns between two trials: at first, and at most. Each trial that ends as the last one doubles them.
  static constexpr uint32_t kFirstRest = 1024;
  static constexpr uint32_t kLongestRest = 64 * 1024;

  bool splices() const { return phase_ == Phase::Splicing || (phase_ == Phase::Resting && splicesBest_); }
  // Whether the turn that comes is measured.
  bool measures() const { return phase_ != Phase::Resting && left_ <= kMeasured; }

  // A turn in bulk is over. `micros` of processor time are used only if it was measured.
  void turned(uint64_t bytes, int64_t micros) {
    Cost& cost = phase_ == Phase::Copying ? copies_ : splices_;
    if (measures()) cost = {cost.bytes + bytes, cost.micros + micros};
    if (--left_ != 0) return;
    left_ = kUnmeasured + kMeasured;
    switch (phase_) {
      case Phase::Copying:
        phase_ = Phase::Splicing;
        return;
      case Phase::Splicing:
        phase_ = Phase::Resting;
        left_ = decide();
        return;
      case Phase::Resting:
        phase_ = Phase::Copying;
        copies_ = splices_ = {};
        return;
    }
  }

 private:
  enum class Phase : uint8_t { Copying, Splicing, Resting };
  struct Cost {
    uint64_t bytes = 0;
    int64_t micros = 0;
    double perByte() const {
      return static_cast<double>(micros) / static_cast<double>(std::max<uint64_t>(bytes, 1));
    }
  };

  // Returns for how many turns the decision holds.
  uint32_t decide() {
    const bool splicesBest = splices_.perByte() < copies_.perByte();
    rest_ = splicesBest == splicesBest_ ? std::min(2 * rest_, kLongestRest) : kFirstRest;
    splicesBest_ = splicesBest;
    return rest_;
  }

  Phase phase_ = Phase::Copying;
  uint32_t left_ = kUnmeasured + kMeasured;
  uint32_t rest_ = kFirstRest / 2;
  bool splicesBest_ = false;
  Cost copies_;
  Cost splices_;
};

}  // namespace vsock_proxy
