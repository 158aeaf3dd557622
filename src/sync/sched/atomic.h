// sync::Atomic under the controlled scheduler: std::atomic with a point before each operation.
//
// Relaxed loads, stores and additions are no points: they are statistics, or belong to an exchange that is
// one. Exchanges and compare-exchanges of any order are. Sequentially consistent only: what weaker orders
// would allow beyond that, ThreadSanitizer and the reader of the stated pairs must find.
#pragma once

#include <atomic>
#include <cstdint>
#include <type_traits>

#include "sync/sched/scheduler.h"

namespace coldpress::sync {
inline namespace fibers {

template <typename T>
class Atomic {
 public:
  using Order = std::memory_order;
  using Where = sched::Where;

  constexpr Atomic() noexcept = default;
  constexpr Atomic(T value) noexcept : value_(value) {}  // NOLINT: as std::atomic
  Atomic(const Atomic&) = delete;
  Atomic& operator=(const Atomic&) = delete;

  T load(Order order = std::memory_order_seq_cst, const Where& where = Where::current()) const {
    if (order == std::memory_order_relaxed) return value_.load(order);
    point(sched::Op::kLoad, where);
    T value = value_.load(order);
    did(value, value);
    return value;
  }
  void store(T value, Order order = std::memory_order_seq_cst, const Where& where = Where::current()) {
    if (order == std::memory_order_relaxed) return value_.store(value, order);
    point(sched::Op::kStore, where);
    did(value_.load(std::memory_order_relaxed), value);
    value_.store(value, order);
  }
  T exchange(T value, Order order = std::memory_order_seq_cst, const Where& where = Where::current()) {
    point(sched::Op::kExchange, where);
    T before = value_.exchange(value, order);
    did(before, value);
    return before;
  }
  bool compare_exchange_strong(T& expected, T desired, Order good, Order bad,
                               const Where& where = Where::current()) {
    point(sched::Op::kCas, where);
    bool done = value_.compare_exchange_strong(expected, desired, good, bad);
    did(expected, done ? desired : expected);
    return done;
  }
  bool compare_exchange_weak(T& expected, T desired, Order good, Order bad,
                             const Where& where = Where::current()) {
    point(sched::Op::kCas, where);
    // Where it would fail anyway there is nothing to choose.
    if (value_.load(std::memory_order_relaxed) == expected &&
        sched::scheduler().choose(sched::Kind::kWeakCas, 2, 1) != 0) {
      expected = value_.load(bad);
      return false;
    }
    bool done = value_.compare_exchange_strong(expected, desired, good, bad);
    did(expected, done ? desired : expected);
    return done;
  }
  T fetch_add(T by, Order order = std::memory_order_seq_cst, const Where& where = Where::current()) {
    return update(order, where, [&] { return value_.fetch_add(by, order); });
  }
  T fetch_sub(T by, Order order = std::memory_order_seq_cst, const Where& where = Where::current()) {
    return update(order, where, [&] { return value_.fetch_sub(by, order); });
  }
  T fetch_or(T by, Order order = std::memory_order_seq_cst, const Where& where = Where::current()) {
    return update(order, where, [&] { return value_.fetch_or(by, order); });
  }
  T fetch_and(T by, Order order = std::memory_order_seq_cst, const Where& where = Where::current()) {
    return update(order, where, [&] { return value_.fetch_and(by, order); });
  }

 private:
  template <typename Do>
  T update(Order order, const Where& where, Do act) {
    if (order == std::memory_order_relaxed) return act();
    point(sched::Op::kUpdate, where);
    T before = act();
    did(before, value_.load(std::memory_order_relaxed));
    return before;
  }
  void point(sched::Op op, const Where& where) const { sched::scheduler().point(op, this, where); }
  static void did(T before, T after) { sched::scheduler().did(shown(before), shown(after)); }
  static std::uint64_t shown(T value) {
    if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      return static_cast<std::uint64_t>(value);
    } else {
      return 0;
    }
  }

  std::atomic<T> value_;
};

}  // namespace fibers
}  // namespace coldpress::sync
