// Policies of reclaim that see only what an engine in user space sees: faults, and which pages were written.
// Not thread-aware.
#pragma once

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "trace.h"

namespace coldbench {

constexpr double kSoon = 40.0 / 64;

struct Cost {
  std::uint64_t loads = 0, put_backs = 0, scans = 0;
};

// What the engine does, and what it might do.
struct HandOptions {
  double rest = 1.0 / 32;    // of the frames, that rest
  double soon = 1;           // of the frames: who comes back within so many captures came back too soon
  bool backoff = true;       // pages that came back are passed over for longer
  bool written = false;      // and pages written since the hand came by
  bool reads_count = false;  // an ideal: accesses instead of writes
  unsigned max_backoff = 7;
  bool decay = true;
  std::uint32_t chunk = 0;  // pages; what came to one lately is passed over, with its neighbours
  double young = 1;         // at most, of the frames, that came since
  std::uint32_t batch = 32;
};

class Hand {
 public:
  Hand(const Trace& trace, std::uint32_t frames, const HandOptions& options)
      : options_(options),
        frames_(frames),
        state_(trace.pages, kNew),
        backoff_(trace.pages),
        skip_(trace.pages),
        used_(trace.pages),
        left_at_(trace.pages),
        came_at_(options.chunk > 0 ? trace.pages / options.chunk + 1 : 0),
        rest_target_(static_cast<std::uint32_t>(frames * options.rest)) {
    for (const Touch& touch : trace.touches) access(touch);
  }
  const Cost& cost() const { return cost_; }

 private:
  enum State : std::uint8_t { kNew, kResident, kResting, kOut };

  // Whether something came to the page's chunk lately; how lately, is learnt: less for each chunk that is
  // passed over, more for each batch that is found.
  bool young(std::uint32_t page) {
    if (options_.chunk == 0) return false;
    std::uint64_t came_at = came_at_[page / options_.chunk];
    if (came_at == 0 || static_cast<double>(arrivals_ - came_at) >= young_) return false;
    if (page % options_.chunk == 0) young_ -= young_ * 2 * options_.chunk / frames_;
    return true;
  }

  void access(const Touch& touch) {
    std::uint32_t page = touch.page;
    switch (state_[page]) {
      case kResident:
        break;
      case kResting:
        ++cost_.put_backs;
        --resting_;
        activate(page);
        enter(page);
        break;
      case kOut: {
        ++cost_.loads;
        std::uint64_t distance = captures_ - left_at_[page];
        if (static_cast<double>(distance) <= frames_ * options_.soon) {
          activate(page);
        } else {
          if (options_.decay && backoff_[page] > 0) --backoff_[page];
          skip_[page] = options_.backoff ? 1 : 0;
        }
        enter(page);
        break;
      }
      case kNew:
        enter(page);
        break;
    }
    if (touch.write || options_.reads_count) used_[page] = true;
  }

  void enter(std::uint32_t page) {
    state_[page] = kResident;
    used_[page] = true;
    ++resident_;
    ++arrivals_;
    if (options_.chunk > 0) came_at_[page / options_.chunk] = arrivals_;
    while (resident_ + resting_ > frames_) make_room();
  }

  void activate(std::uint32_t page) {
    if (!options_.backoff) return;
    if (backoff_[page] < options_.max_backoff) ++backoff_[page];
    skip_[page] = static_cast<std::uint8_t>((1u << backoff_[page]) - 1);
  }

  void make_room() {
    if (resting_ <= rest_target_) capture();
    while (!queue_.empty() && (resting_ > rest_target_ || resident_ + resting_ > frames_)) {
      auto [page, number] = queue_.front();
      queue_.pop_front();
      if (state_[page] != kResting || left_at_[page] != number) continue;
      state_[page] = kOut;
      --resting_;
      if (resident_ + resting_ <= frames_ && resting_ <= rest_target_) break;
    }
  }

  void capture() {
    std::uint32_t taken = 0;
    for (std::uint64_t looked = 0; taken < options_.batch && looked < 300ull * state_.size(); ++looked) {
      hand_ = hand_ + 1 < state_.size() ? hand_ + 1 : 0;
      if (state_[hand_] != kResident) continue;
      ++cost_.scans;
      if (young(hand_)) continue;
      if (skip_[hand_] > 0) {
        --skip_[hand_];
        continue;
      }
      if ((options_.written || options_.reads_count) && used_[hand_]) {
        used_[hand_] = false;
        continue;
      }
      state_[hand_] = kResting;
      left_at_[hand_] = ++captures_;
      queue_.push_back({hand_, captures_});
      --resident_;
      ++resting_;
      ++taken;
    }
    young_ += (frames_ * options_.young - young_) / 16;
  }

  HandOptions options_;
  double young_ = 0;
  std::uint32_t frames_;
  Cost cost_;
  std::vector<State> state_;
  std::vector<std::uint8_t> backoff_, skip_;
  std::vector<bool> used_;
  std::vector<std::uint64_t> left_at_, came_at_;
  std::deque<std::pair<std::uint32_t, std::uint64_t>> queue_;
  std::uint64_t arrivals_ = 0;
  std::uint32_t rest_target_, resident_ = 0, resting_ = 0;
  std::size_t hand_ = 0;
  std::uint64_t captures_ = 0;
};

// Two queues, after 2Q and S3-FIFO: pages are on probation until they come back from their rest, or from
// outside soon; what is on probation goes first, in the order in which it came, while it is more than its
// share.
class TwoQueues {
 public:
  TwoQueues(const Trace& trace, std::uint32_t frames, double rest, double probation)
      : frames_(frames),
        state_(trace.pages, kNew),
        proven_(trace.pages),
        left_at_(trace.pages),
        rest_target_(static_cast<std::uint32_t>(frames * rest)),
        share_(static_cast<std::uint32_t>(frames * probation)) {
    for (const Touch& touch : trace.touches) access(touch.page);
  }
  const Cost& cost() const { return cost_; }

 private:
  enum State : std::uint8_t { kNew, kResident, kResting, kOut };

  void access(std::uint32_t page) {
    if (state_[page] == kResident) return;
    if (state_[page] == kResting) {
      ++cost_.put_backs;
      --resting_;
      proven_[page] = true;
    } else if (state_[page] == kOut) {
      ++cost_.loads;
      proven_[page] = captures_ - left_at_[page] <= frames_ * kSoon;
    }
    state_[page] = kResident;
    (proven_[page] ? main_ : young_).push_back(page);
    while (main_.size() + young_.size() + resting_ > frames_) make_room();
  }

  void make_room() {
    if (resting_ <= rest_target_) capture();
    while (!queue_.empty() &&
           (resting_ > rest_target_ || main_.size() + young_.size() + resting_ > frames_)) {
      auto [page, number] = queue_.front();
      queue_.pop_front();
      if (state_[page] != kResting || left_at_[page] != number) continue;
      state_[page] = kOut;
      --resting_;
      if (main_.size() + young_.size() + resting_ <= frames_ && resting_ <= rest_target_) break;
    }
  }

  void capture() {
    for (int taken = 0; taken < 32; ++taken) {
      std::deque<std::uint32_t>& from = young_.size() > share_ || main_.empty() ? young_ : main_;
      if (from.empty()) return;
      std::uint32_t page = from.front();
      from.pop_front();
      ++cost_.scans;
      state_[page] = kResting;
      left_at_[page] = ++captures_;
      queue_.push_back({page, captures_});
      ++resting_;
    }
  }

  std::uint32_t frames_;
  Cost cost_;
  std::vector<State> state_;
  std::vector<bool> proven_;
  std::vector<std::uint64_t> left_at_;
  std::deque<std::uint32_t> young_, main_;
  std::deque<std::pair<std::uint32_t, std::uint64_t>> queue_;
  std::uint32_t rest_target_, share_, resting_ = 0;
  std::uint64_t captures_ = 0;
};

// The hand, in the order in which pages came instead of that of addresses: a page that is passed over comes
// again last.
class ByArrival {
 public:
  ByArrival(const Trace& trace, std::uint32_t frames, double rest, unsigned most_backoff)
      : frames_(frames),
        most_backoff_(most_backoff),
        state_(trace.pages, kNew),
        backoff_(trace.pages),
        skip_(trace.pages),
        left_at_(trace.pages),
        rest_target_(static_cast<std::uint32_t>(frames * rest)) {
    for (const Touch& touch : trace.touches) access(touch.page);
  }
  const Cost& cost() const { return cost_; }

 private:
  enum State : std::uint8_t { kNew, kResident, kResting, kOut };

  void activate(std::uint32_t page) {
    if (backoff_[page] < most_backoff_) ++backoff_[page];
    skip_[page] = static_cast<std::uint8_t>((1u << backoff_[page]) - 1);
  }

  void access(std::uint32_t page) {
    if (state_[page] == kResident) return;
    if (state_[page] == kResting) {
      ++cost_.put_backs;
      --resting_;
      activate(page);
    } else if (state_[page] == kOut) {
      ++cost_.loads;
      if (captures_ - left_at_[page] <= frames_ * kSoon) {
        activate(page);
      } else {
        if (backoff_[page] > 0) --backoff_[page];
        skip_[page] = backoff_[page] > 0 ? 1 : 0;
      }
    }
    state_[page] = kResident;
    order_.push_back(page);
    while (order_.size() + resting_ > frames_) make_room();
  }

  void make_room() {
    if (resting_ <= rest_target_) capture();
    while (!queue_.empty() && (resting_ > rest_target_ || order_.size() + resting_ > frames_)) {
      auto [page, number] = queue_.front();
      queue_.pop_front();
      if (state_[page] != kResting || left_at_[page] != number) continue;
      state_[page] = kOut;
      --resting_;
      if (order_.size() + resting_ <= frames_ && resting_ <= rest_target_) break;
    }
  }

  void capture() {
    for (int taken = 0; taken < 32 && !order_.empty();) {
      std::uint32_t page = order_.front();
      order_.pop_front();
      ++cost_.scans;
      if (skip_[page] > 0) {
        --skip_[page];
        order_.push_back(page);
        continue;
      }
      state_[page] = kResting;
      left_at_[page] = ++captures_;
      queue_.push_back({page, captures_});
      ++resting_;
      ++taken;
    }
  }

  std::uint32_t frames_, most_backoff_;
  Cost cost_;
  std::vector<State> state_;
  std::vector<std::uint8_t> backoff_, skip_;
  std::vector<std::uint64_t> left_at_;
  std::deque<std::uint32_t> order_;
  std::deque<std::pair<std::uint32_t, std::uint64_t>> queue_;
  std::uint32_t rest_target_, resting_ = 0;
  std::uint64_t captures_ = 0;
};

}  // namespace coldbench
