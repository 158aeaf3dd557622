// Pressure: the time that a program lost to faults and reclaim, told as the kernel's PSI tells it.
//
//   some   at least one of its threads waits for the engine
//   full   all of them do, as far as the engine sees: threads that sleep by themselves count as not waiting,
//          and on the thread path no more wait at once than there are servers
// as the part of the last 10, 60 and 300 seconds (averages that fade, with the kernel's factors for a period
// of two seconds), and summed. A wait counts from when a server, or the thread itself, takes the fault up
// until it is served; not while the fault waits for a server, nor when it was put aside for another.
//
// Thread safety: begin() and end() from any thread; update() by one at a time. Times are in nanoseconds of
// the engine's clock.
#pragma once

#include <cstdint>

#include "memgroup/stats.h"
#include "sync/futex.h"
#include "sync/mutex.h"

namespace coldpress::memgroup {

class Pressure {
 public:
  static constexpr std::int64_t kPeriodNs = 2'000'000'000;

  // A thread begins to wait, or goes on.
  void begin(std::int64_t now_ns) { change(1, now_ns); }
  void end(std::int64_t now_ns) { change(-1, now_ns); }
  // Ends a period, at the latest every kPeriodNs. `threads` of the program; 0: unknown, then nothing counts
  // as full.
  void update(std::int64_t now_ns, std::uint32_t threads);
  struct Told {
    struct Line {
      std::uint64_t average[3];  // of 10, 60 and 300 seconds, in 1/100 %
      std::uint64_t total_us;
    } some, full;
  };
  // As of the last update.
  Told told() EXCLUDES(mutex_);
  void tell(Stats& stats);
  bool waited_for() EXCLUDES(mutex_) {
    sync::MutexLock lock(mutex_);
    return waiting_ > 0;
  }
  bool due(std::int64_t now_ns) const { return now_ns - updated_ns_ >= kPeriodNs; }

 private:
  struct Line {
    std::int64_t total_ns = 0, seen_ns = 0;
    double average[3] = {};  // percent
  };
  void change(int by, std::int64_t now_ns) EXCLUDES(mutex_);
  void account(std::int64_t now_ns) REQUIRES(mutex_);
  static void fade(Line& line, std::int64_t elapsed_ns);

  sync::Mutex mutex_;
  std::uint32_t waiting_ GUARDED_BY(mutex_) = 0;
  std::uint32_t threads_ GUARDED_BY(mutex_) = 0;
  std::int64_t since_ns_ GUARDED_BY(mutex_) = 0;
  Line some_ GUARDED_BY(mutex_);
  Line full_ GUARDED_BY(mutex_);
  std::int64_t updated_ns_ = 0;  // update()'s own
};

// A thread waits for as long as this lives.
class Waiting {
 public:
  explicit Waiting(Pressure& pressure) : pressure_(pressure) { pressure_.begin(sync::now_ns()); }
  ~Waiting() { pressure_.end(sync::now_ns()); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

 private:
  Pressure& pressure_;
};

}  // namespace coldpress::memgroup
