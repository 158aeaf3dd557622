// Policies of reclaim that see only what an engine in user space sees: faults, which pages were written, and
// which chunks were accessed. Not thread-aware.
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

// What all of them share: captured pages rest, first in first out, before they go out. Who is captured is the
// policy's to say.
class Resting {
 public:
  const Cost& cost() const { return cost_; }

 protected:
  enum State : std::uint8_t { kNew, kResident, kResting, kOut };

  Resting(const Trace& trace, std::uint32_t frames, double rest)
      : frames_(frames),
        state_(trace.pages, kNew),
        left_at_(trace.pages),
        rest_target_(static_cast<std::uint32_t>(frames * rest)) {}

  // A resident page is captured.
  void lay_down(std::uint32_t page) {
    state_[page] = kResting;
    left_at_[page] = ++captures_;
    queue_.push_back({page, captures_});
    ++resting_;
  }
  // Whether a page that is out, or rests, was captured no more than so many captures ago, in frames.
  bool left_lately(std::uint32_t page, double frames) const {
    return static_cast<double>(captures_ - left_at_[page]) <= frames_ * frames;
  }

  // Until all fit, resident() and resting.
  template <typename Resident, typename Capture>
  void make_room(Resident resident, Capture capture) {
    while (resident() + resting_ > frames_) {
      if (resting_ <= rest_target_) capture();
      while (!queue_.empty() && (resting_ > rest_target_ || resident() + resting_ > frames_)) {
        auto [page, number] = queue_.front();
        queue_.pop_front();
        if (state_[page] != kResting || left_at_[page] != number) continue;
        state_[page] = kOut;
        --resting_;
        if (resident() + resting_ <= frames_ && resting_ <= rest_target_) break;
      }
    }
  }

  std::uint32_t frames_, resting_ = 0;
  Cost cost_;
  std::vector<State> state_;

 private:
  std::vector<std::uint64_t> left_at_;
  std::deque<std::pair<std::uint32_t, std::uint64_t>> queue_;
  std::uint32_t rest_target_;
  std::uint64_t captures_ = 0;
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
  // Pages of which one accessed bit tells, as /proc/PID/smaps does of a mapping; a chunk that was accessed
  // since the hand came by is passed over. An ideal: clear_refs clears the bits of all chunks at once.
  std::uint32_t accessed = 0;
  std::uint32_t batch = 32;
};

class Hand : public Resting {
 public:
  Hand(const Trace& trace, std::uint32_t frames, const HandOptions& options)
      : Resting(trace, frames, options.rest),
        options_(options),
        backoff_(trace.pages),
        skip_(trace.pages),
        used_(trace.pages),
        came_at_(options.chunk > 0 ? trace.pages / options.chunk + 1 : 0),
        accessed_(options.accessed > 0 ? trace.pages / options.accessed + 1 : 0) {
    for (const Touch& touch : trace.touches) access(touch);
  }

 private:
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
      case kOut:
        ++cost_.loads;
        if (left_lately(page, options_.soon)) {
          activate(page);
        } else {
          if (options_.decay && backoff_[page] > 0) --backoff_[page];
          skip_[page] = options_.backoff ? 1 : 0;
        }
        enter(page);
        break;
      case kNew:
        enter(page);
        break;
    }
    if (touch.write || options_.reads_count) used_[page] = true;
    if (options_.accessed > 0) accessed_[page / options_.accessed] = true;
  }

  void enter(std::uint32_t page) {
    state_[page] = kResident;
    used_[page] = true;
    ++resident_;
    ++arrivals_;
    if (options_.chunk > 0) came_at_[page / options_.chunk] = arrivals_;
    make_room([&] { return resident_; }, [&] { capture(); });
  }

  void activate(std::uint32_t page) {
    if (!options_.backoff) return;
    if (backoff_[page] < options_.max_backoff) ++backoff_[page];
    skip_[page] = static_cast<std::uint8_t>((1u << backoff_[page]) - 1);
  }

  void capture() {
    std::uint32_t taken = 0;
    for (std::uint64_t looked = 0; taken < options_.batch && looked < 300ull * state_.size(); ++looked) {
      hand_ = hand_ + 1 < state_.size() ? hand_ + 1 : 0;
      if (options_.accessed > 0 && hand_ % options_.accessed == 0) {
        spared_ = accessed_[hand_ / options_.accessed];
        accessed_[hand_ / options_.accessed] = false;
      }
      if (state_[hand_] != kResident) continue;
      ++cost_.scans;
      if (spared_) continue;
      if (young(hand_)) continue;
      if (skip_[hand_] > 0) {
        --skip_[hand_];
        continue;
      }
      if ((options_.written || options_.reads_count) && used_[hand_]) {
        used_[hand_] = false;
        continue;
      }
      lay_down(hand_);
      --resident_;
      ++taken;
    }
    young_ += (frames_ * options_.young - young_) / 16;
  }

  HandOptions options_;
  double young_ = 0;
  std::vector<std::uint8_t> backoff_, skip_;
  std::vector<bool> used_;
  std::vector<std::uint64_t> came_at_;
  std::vector<bool> accessed_;
  bool spared_ = false;  // the chunk at which the hand is
  std::uint64_t arrivals_ = 0;
  std::uint32_t resident_ = 0, hand_ = 0;
};

// Two queues, after 2Q and S3-FIFO: pages are on probation until they come back from their rest, or from
// outside soon; what is on probation goes first, in the order in which it came, while it is more than its
// share.
class TwoQueues : public Resting {
 public:
  TwoQueues(const Trace& trace, std::uint32_t frames, double rest, double probation)
      : Resting(trace, frames, rest),
        proven_(trace.pages),
        share_(static_cast<std::uint32_t>(frames * probation)) {
    for (const Touch& touch : trace.touches) access(touch.page);
  }

 private:
  void access(std::uint32_t page) {
    if (state_[page] == kResident) return;
    if (state_[page] == kResting) {
      ++cost_.put_backs;
      --resting_;
      proven_[page] = true;
    } else if (state_[page] == kOut) {
      ++cost_.loads;
      proven_[page] = left_lately(page, kSoon);
    }
    state_[page] = kResident;
    (proven_[page] ? main_ : young_).push_back(page);
    make_room([&] { return main_.size() + young_.size(); }, [&] { capture(); });
  }

  void capture() {
    for (int taken = 0; taken < 32; ++taken) {
      std::deque<std::uint32_t>& from = young_.size() > share_ || main_.empty() ? young_ : main_;
      if (from.empty()) return;
      std::uint32_t page = from.front();
      from.pop_front();
      ++cost_.scans;
      lay_down(page);
    }
  }

  std::vector<bool> proven_;
  std::deque<std::uint32_t> young_, main_;
  std::uint32_t share_;
};

// The hand, in the order in which pages came instead of that of addresses: a page that is passed over comes
// again last.
class ByArrival : public Resting {
 public:
  ByArrival(const Trace& trace, std::uint32_t frames, double rest, unsigned most_backoff)
      : Resting(trace, frames, rest), most_backoff_(most_backoff), backoff_(trace.pages), skip_(trace.pages) {
    for (const Touch& touch : trace.touches) access(touch.page);
  }

 private:
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
      if (left_lately(page, kSoon)) {
        activate(page);
      } else {
        if (backoff_[page] > 0) --backoff_[page];
        skip_[page] = backoff_[page] > 0 ? 1 : 0;
      }
    }
    state_[page] = kResident;
    order_.push_back(page);
    make_room([&] { return order_.size(); }, [&] { capture(); });
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
      lay_down(page);
      ++taken;
    }
  }

  unsigned most_backoff_;
  std::vector<std::uint8_t> backoff_, skip_;
  std::deque<std::uint32_t> order_;
};

}  // namespace coldbench
