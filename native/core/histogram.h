// Distributions of durations. Any thread may count, and any thread may read.

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <iterator>

#include "loop.h"

namespace vsock_proxy {

// The upper bounds, inclusive: from connections on this machine to those that are open for an hour.
constexpr Micros kHistogramBounds[] = {1'000,     5'000,      25'000,     100'000,     500'000,
                                       2'500'000, 10'000'000, 60'000'000, 600'000'000, 3'600'000'000};

// For each bound, the number of values for which it is the lowest one that holds; at the end, the number
// above all bounds.
struct HistogramCounts {
  std::array<uint64_t, std::size(kHistogramBounds) + 1> counts{};
  uint64_t sumMicros = 0;
};

class Histogram {
 public:
  void observe(Micros took) {
    const Micros* bound = std::lower_bound(std::begin(kHistogramBounds), std::end(kHistogramBounds), took);
    const auto index = static_cast<size_t>(bound - std::begin(kHistogramBounds));
    counts_[index].fetch_add(1, std::memory_order_relaxed);
    sumMicros_.fetch_add(static_cast<uint64_t>(std::max<Micros>(0, took)), std::memory_order_relaxed);
  }

  HistogramCounts read() const {
    HistogramCounts all;
    for (size_t i = 0; i < counts_.size(); ++i) all.counts[i] = counts_[i].load(std::memory_order_relaxed);
    all.sumMicros = sumMicros_.load(std::memory_order_relaxed);
    return all;
  }

 private:
  std::array<std::atomic<uint64_t>, std::size(kHistogramBounds) + 1> counts_{};
  std::atomic<uint64_t> sumMicros_{0};
};

}  // namespace vsock_proxy
