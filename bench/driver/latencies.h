// A histogram of times in nanoseconds, exact to 1/16: buckets are linear within a power of two. Not thread
// safe; one for each thread, added up at the end.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace coldbench {

class Latencies {
 public:
  void add(std::uint64_t ns) {
    ++buckets_[bucket_of(ns)];
    ++count_;
    sum_ += ns;
  }
  void add(const Latencies& other) {
    for (std::size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    sum_ += other.sum_;
  }
  std::uint64_t count() const { return count_; }
  std::uint64_t sum() const { return sum_; }
  // The time that `share` (0 to 1) of all do not exceed; the upper edge of its bucket.
  std::uint64_t percentile(double share) const {
    auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count_));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      seen += buckets_[i];
      if (seen > wanted || seen == count_) return upper_edge(i);
    }
    return 0;
  }
  // Calls visit(upper edge, count) for every bucket that is not empty.
  template <typename Visit>
  void for_each(Visit visit) const {
    for (std::size_t i = 0; i < kBuckets; ++i) {
      if (buckets_[i] != 0) visit(upper_edge(i), buckets_[i]);
    }
  }

 private:
  static constexpr unsigned kBits = 4;
  static constexpr std::size_t kBuckets = (64 - kBits + 1) << kBits;

  static std::size_t bucket_of(std::uint64_t ns) {
    if (ns < 1u << kBits) return ns;
    auto exponent = static_cast<unsigned>(std::bit_width(ns)) - 1 - kBits;
    return ((exponent + 1) << kBits) + ((ns >> exponent) & ((1u << kBits) - 1));
  }
  static std::uint64_t upper_edge(std::size_t bucket) {
    if (bucket < 1u << kBits) return bucket;
    std::uint64_t exponent = (bucket >> kBits) - 1;
    return (((1u << kBits) | (bucket & ((1u << kBits) - 1))) + 1) << exponent;
  }

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0, sum_ = 0;
};

}  // namespace coldbench
