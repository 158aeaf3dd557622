// The engine's side of runtime/control.h: the monitor looks for an order at every tick, inside the gate.
#include "runtime/control.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "os/linux/stats_file.h"
#include "runtime/engine.h"

namespace coldpress::runtime {
static_assert(sizeof(memgroup::Stats) <= ControlPage::kOffset);
static_assert(Told::kOffset + sizeof(Told) <= os::kStatsFileBytes);

ControlPage& Engine::control() const {
  return *reinterpret_cast<ControlPage*>(reinterpret_cast<std::byte*>(stats_) + ControlPage::kOffset);
}

bool Engine::order_waits() const {
  ControlPage::State state = ControlPage::Turn::of(control().turn.load(sync::kRelaxed)).state;
  return state == ControlPage::kPosted || state == ControlPage::kCancelled;
}

void Engine::look_for_order() {
  ControlPage& page = control();
  ControlPage::Turn turn = ControlPage::Turn::of(page.turn.load(sync::kAcquire));
  if (turn.state == ControlPage::kPosted) {
    if (!page.pass(turn, turn.in(ControlPage::kRunning))) return;
    reclaim_goal_ = -1;
    writing_back_ = false;
    swapping_off_ = swap::kMaxAreas;
    order_begun_ns_ = sync::now_ns();
    std::memcpy(order_text_, page.text, sizeof order_text_);  // a copy: the other side could still write
    order_text_[sizeof order_text_ - 1] = 0;
  } else if (turn.state != ControlPage::kRunning && turn.state != ControlPage::kCancelled) {
    return;
  }
  Text answer;
  if (turn.state == ControlPage::kCancelled) {
    stop_order(answer);
  } else if (!follow_order(page.order, page.argument, answer)) {
    return;  // goes on at the next tick
  }
  refresh_gauges();
  std::size_t length = std::min(answer.view().size(), sizeof page.answer - 1);
  std::memcpy(page.answer, answer.view().data(), length);
  page.answer[length] = 0;
  page.good = length == 0 ? 1 : 0;
  // Cancelled when it was done already: done.
  if (!page.pass(turn.in(ControlPage::kRunning), turn.in(ControlPage::kDone))) {
    page.pass(turn.in(ControlPage::kCancelled), turn.in(ControlPage::kDone));
  }
}

void Engine::stop_order(Text& answer) {
  answer << "interrupted";
  if (swapping_off_ == swap::kMaxAreas) return;
  space_.devices().thaw_area(std::exchange(swapping_off_, swap::kMaxAreas));
  answer << ": " << order_text_ << " stays in use";
}

// false: not done yet.
bool Engine::follow_order(Order order, std::uint64_t argument, Text& answer) {
  if (activation_failed_) {
    answer << "the engine could not become active in this process: it runs without a limit";
    return true;
  }
  switch (order) {
    case Order::kSet:
      set(order_text_, answer);
      return true;
    case Order::kReclaim:
      return reclaim_some(argument, answer);
    case Order::kSwapOn:
      swap_on(order_text_, answer);
      return true;
    case Order::kSwapOff:
      return swap_off(order_text_, answer);
    case Order::kWriteBack:
      return write_some_back(argument, answer);
    case Order::kPool:
      return show_pool(argument == 1);
    case Order::kDevices:
      devices_.list(active_.load() ? &space_ : nullptr, told(control()).devices);
      return true;
    case Order::kSettings:
      show_settings();
      return true;
  }
  answer << "this version does not know that order";
  return true;
}

// false: not done yet.
bool Engine::reclaim_some(std::uint64_t bytes, Text& answer) {
  constexpr std::int64_t kPatienceNs = 60'000'000'000;
  if (!active_.load() && !try_to_activate()) {
    answer << "the engine could not become active";
    return true;
  }
  refresh_usage();
  if (mode_ == Mode::kProcess) adopt_everything();
  const memgroup::Stats& stats = group_.stats();
  auto pages =
      static_cast<std::int64_t>(std::min<std::uint64_t>(bytes >> kPageShift, ~std::uint64_t{0} >> 16));
  auto out = [&] { return stats.zswpout.load() + stats.swpout_zero.load(); };
  if (reclaim_goal_ < 0) {
    reclaim_goal_ = std::max<std::int64_t>(group_.usage() - pages, 0);
    reclaim_from_ = out();
  }
  bool possible = space_.reclaim_to(reclaim_goal_, monitor_worker_, sync::now_ns() + kMonitorSliceNs);
  // A program that brings back as much as goes keeps its usage: then what went is what was asked for.
  bool gone = static_cast<std::int64_t>(out() - reclaim_from_) >= 2 * pages;
  if (group_.usage() <= reclaim_goal_ || gone) return true;
  if (possible && sync::now_ns() - order_begun_ns_ < kPatienceNs) return false;
  answer << "not all of it: ";
  answer.bytes(static_cast<std::uint64_t>(group_.usage() - reclaim_goal_) << kPageShift)
      << " more can not be reclaimed now";
  return true;
}

// false: not done yet. The goal is in bytes that leave the pool, whatever comes to it meanwhile.
bool Engine::write_some_back(std::uint64_t bytes, Text& answer) {
  constexpr std::int64_t kSliceNs = 50'000'000, kIdleNs = 1'000'000'000, kPatienceNs = 60 * kIdleNs;
  const auto& written = group_.stats().written_back_bytes;
  if (!active_.load() || !space_.has_swap()) {
    answer << "there is no swap device that may be written to";
    return true;
  }
  std::int64_t now = sync::now_ns();
  if (!writing_back_) {
    writing_back_ = true;
    writeback_from_ = writeback_seen_ = written.load();
    writeback_moved_ns_ = now;
  }
  std::uint64_t pages = group_.stats().zswpwb.load();
  auto done = [&] { return written.load() - writeback_from_ >= bytes; };
  for (std::int64_t until = now + kSliceNs; !done() && keep_going() && sync::now_ns() < until;) {
    // Twice: what is new in the pool gets a second turn.
    bool goes_on = space_.write_back(vm::Space::WritebackNeed::kLastResort, monitor_worker_) ||
                   space_.write_back(vm::Space::WritebackNeed::kLastResort, monitor_worker_);
    if (!goes_on) break;
  }
  if (!done()) space_.finish_writes(kSliceNs);
  memgroup::add_to(group_.stats().zswpwb_proactive, group_.stats().zswpwb.load() - pages);
  std::uint64_t seen = written.load();  // once: threads that serve faults settle writes, too
  if (seen - writeback_from_ >= bytes) return true;
  if (seen != std::exchange(writeback_seen_, seen)) writeback_moved_ns_ = sync::now_ns();
  // What comes to an empty pool would go page by page, each a write of its own.
  bool empty = group_.stats().stored_pages.load() == 0 && space_.devices().under_way_bytes() == 0;
  bool patient =
      sync::now_ns() - writeback_moved_ns_ < kIdleNs && sync::now_ns() - order_begun_ns_ < kPatienceNs;
  if (!empty && patient) return false;
  answer << "not all of it: ";
  answer.bytes(bytes - (seen - writeback_from_)) << " more can not be written back now";
  return true;
}

bool Engine::show_pool(bool compact) {
  constexpr std::int64_t kSliceNs = 5'000'000, kPatienceNs = 10'000'000'000;
  std::int64_t until = sync::now_ns() + kSliceNs;
  // While the program stores and frees there may always be something.
  bool patient = sync::now_ns() - order_begun_ns_ < kPatienceNs;
  while (compact && patient && active_.load() && space_.compact_pool(true)) {
    if (!keep_going() || sync::now_ns() > until) return false;
  }
  if (active_.load()) space_.trim_pool(true);
  refresh_gauges();
  PoolRows& pool = told(control()).pool;
  static_assert(zspool::kSizeClasses.count <= std::size(PoolRows{}.rows));
  std::size_t count = active_.load() ? zspool::ZsPool::class_count() : 0;
  pool.count = count;
  for (std::size_t i = 0; i < count; ++i) {
    zspool::ClassStats c = space_.zswap().pool().class_stats(i);
    pool.rows[i] = {c.shape.object_bytes,
                    c.shape.objects,
                    c.shape.pages,
                    static_cast<std::uint32_t>(c.zspages),
                    static_cast<std::uint32_t>(c.objects),
                    static_cast<std::uint32_t>(c.freeable),
                    {}};
    static_assert(std::size(PoolRows::Row{}.by_tenth) == std::size(zspool::ClassStats{}.by_tenth));
    std::copy(std::begin(c.by_tenth), std::end(c.by_tenth), pool.rows[i].by_tenth);
  }
  return true;
}

// What had nowhere to go, and was passed over for that, may have now.
void Engine::device_came() {
  space_.make_old({{0}, vm::Space::kEndOfPages});
  space_.hope_again();
}

void Engine::swap_on(std::string_view text, Text& answer) {
  SwapSpec spec;
  if (Text problem = parse_swap(text, spec); !problem.view().empty()) {
    answer = problem;
  } else if (auto status = devices_.add_one(spec, active_.load() ? &space_ : nullptr); !status) {
    answer = status.error().text;
  } else if (active_.load()) {
    device_came();
  }
}

bool Engine::swap_off(std::string_view name, Text& answer) {
  using SwapOff = vm::Space::SwapOff;
  if (devices_.close_unused(name)) return true;
  std::size_t area = devices_.find(name);
  if (area == swap::kMaxAreas || !active_.load()) {
    answer << name << " is not a swap device of this process (a path as it was given, auto or ram)";
    return true;
  }
  if (devices_.fork_pending()) return false;  // the child is still to get what lies there
  bool goes_on = swapping_off_ == area;
  swapping_off_ = swap::kMaxAreas;
  switch (space_.swap_off(area, goes_on, monitor_worker_)) {
    case SwapOff::kDone:
      devices_.forget(area);
      return true;
    case SwapOff::kGoesOn:
      swapping_off_ = area;
      return false;
    case SwapOff::kNoMemory:
      answer << "ENOMEM: what lies on " << name << " does not fit under the limit: raise it (coldpress set)";
      return true;
    case SwapOff::kUnreadable:
      answer << "a page on " << name << " can not be read now; the device stays in use";
      return true;
    case SwapOff::kBusy:
      answer << name << " does not answer; it stays in use";
      return true;
    case SwapOff::kNotThere:
      answer << name << " is the device of the parent process: it goes with it";
      return true;
  }
  return true;
}

}  // namespace coldpress::runtime
