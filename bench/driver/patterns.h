// Which page comes next. Every pattern is a function of its seed only, so that all modes do the same.
// Thread safety: none; a pattern for each thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "pages.h"

namespace coldbench {

// Ranks with probability 1/rank^skew, after Gray et al., "Quickly generating billion-record synthetic
// databases" (SIGMOD 1994), as in YCSB; no table.
class Zipf {
 public:
  Zipf(std::uint64_t count, double skew) : count_(count), skew_(skew) {
    for (std::uint64_t i = 1; i <= count; ++i) zeta_ += 1 / std::pow(static_cast<double>(i), skew);
    double zeta2 = 1 + 1 / std::pow(2, skew);
    eta_ = (1 - std::pow(2 / static_cast<double>(count), 1 - skew)) / (1 - zeta2 / zeta_);
  }
  std::uint64_t rank(double uniform) const {
    double scaled = uniform * zeta_;
    if (scaled < 1) return 0;
    if (scaled < 1 + std::pow(0.5, skew_)) return 1;
    auto rank = static_cast<std::uint64_t>(static_cast<double>(count_) *
                                           std::pow(eta_ * uniform - eta_ + 1, 1 / (1 - skew_)));
    return rank < count_ ? rank : count_ - 1;
  }

 private:
  std::uint64_t count_;
  double skew_, zeta_ = 0, eta_ = 0;
};

struct PatternOptions {
  std::string name;  // seq, rand, zipf, shift
  std::uint64_t pages = 0;
  std::uint64_t window = 0;  // shift: pages in use at a time
  std::uint64_t seed = 1;
};

class Pattern {
 public:
  explicit Pattern(const PatternOptions& options) : options_(options), zipf_(1, 0.99) {
    if (options.name == "seq") {
      kind_ = Kind::kSequential;
    } else if (options.name == "rand") {
      kind_ = Kind::kRandom;
    } else if (options.name == "zipf") {
      kind_ = Kind::kZipf;
      zipf_ = Zipf(options.pages, 0.99);
    } else if (options.name == "shift") {
      kind_ = Kind::kShift;
    } else {
      die("no pattern is called " + options.name);
    }
    state_ = mix(options.seed);
  }
  std::uint64_t next() {
    std::uint64_t step = steps_++;
    switch (kind_) {
      case Kind::kSequential:
        return step % options_.pages;
      case Kind::kRandom:
        return random() % options_.pages;
      case Kind::kZipf: {
        double uniform = static_cast<double>(random() >> 11) * 0x1p-53;
        return mix(zipf_.rank(uniform)) % options_.pages;  // hot pages lie anywhere
      }
      default: {
        // A window of pages, used at random, that moves on by a tenth of itself after as many accesses as it
        // has pages.
        std::uint64_t start = step / options_.window * (options_.window / 10 + 1);
        return (start + random() % options_.window) % options_.pages;
      }
    }
  }

 private:
  enum class Kind { kSequential, kRandom, kZipf, kShift };
  std::uint64_t random() { return state_ = mix(state_); }

  PatternOptions options_;
  Kind kind_ = Kind::kRandom;
  Zipf zipf_;
  std::uint64_t state_ = 0, steps_ = 0;
};

}  // namespace coldbench
