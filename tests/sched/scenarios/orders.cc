// Orders of `coldpress set`, swapon and swapoff, as the monitor follows them: one after the other, beside
// whatever else goes on.
#include "sched/machine.h"
#include "sched/scenarios/scenarios.h"

namespace coldpress::testing {
namespace {

// Settings change while pages go out and come back.
void orders_against_stores(Run& run, void (*orders)(Machine& m), std::size_t devices, bool writes) {
  Machine m(run, {.devices = devices});
  PageRange pages = m.map(2);
  m.out(pages.begin, 1);
  m.write(pages.begin + 1, 2);
  run.task("orders", [&] { orders(m); });
  run.task("program", [&] {
    m.page_out(pages);
    MUST(m.read(pages.begin) == 1);
    MUST(m.read(pages.begin + 1) == 2);
  });
  if (writes) run.task("writer", [&] { m.write_back(); });
  run.go();
  m.finish_writes();
  for (std::uint64_t i = 0; i < 2; ++i) MUST(m.read(pages.begin + i) == i + 1);
  m.check();
}

void orders_of_the_pool(Run& run) {
  auto orders = [](Machine& m) {
    m.space().zswap().set_enabled(false);
    m.space().set_zswap_max(0);
    m.space().zswap().set_codec({codec::Kind::kLz4, 2});
    m.space().zswap().set_enabled(true);
    m.space().set_pool_share(1, 1);
    m.space().compact_pool(true);
  };
  orders_against_stores(run, orders, 0, false);  // with a device nothing is refused
}

void orders_of_devices(Run& run) {
  auto orders = [](Machine& m) {
    m.space().set_shrinker(true);
    m.space().set_writeback(false);
    m.space().set_swap_max(0);
    m.space().set_writeback(true);
  };
  orders_against_stores(run, orders, 1, true);
}

void orders_of_limits(Run& run) {
  auto orders = [](Machine& m) {
    m.group().set_high(1);
    m.group().set_limit(2);
    m.space().set_readahead(1);
    m.space().make_old({Machine::kBase, Machine::kBase + 2});
    m.group().set_limit(1000);
  };
  orders_against_stores(run, orders, 1, false);
}

// A device comes, another goes, and a group gets a limit.
void orders_during_swapoff(Run& run) {
  Machine m(run, {.devices = 1, .counted = true});
  PageRange pages = m.map(2), own{pages.begin + 1, pages.end};
  memgroup::AccountId group = m.group_with(own, {});
  m.out(pages.begin, 1, Machine::Tier::kDevice);
  m.out(own.begin, 2);
  run.task("orders", [&] {
    m.group().accounts().set_limits(group, {.max = 1, .zswap_max_bytes = 0});
    m.swap_on();
    MUST(m.swap_off(0) == vm::Space::SwapOff::kDone);
  });
  run.task("writer", [&] { m.write_back(); });
  run.task("program", [&] {
    MUST(m.read(pages.begin) == 1);
    MUST(m.read(own.begin) == 2);
  });
  run.go();
  m.finish_writes();
  for (std::uint64_t i = 0; i < 2; ++i) MUST(m.read(pages.begin + i) == i + 1);
  m.check();
}

// One order of each kind, while something rare goes on.
void give_orders(Machine& m) {
  m.space().zswap().set_enabled(false);
  m.space().zswap().set_codec({codec::Kind::kLz4, 2});
  m.group().set_limit(2);
  m.space().set_writeback(false);
  m.space().zswap().set_enabled(true);
  m.group().set_limit(1000);
  m.space().set_writeback(true);
}

void orders_during_fork(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(1);
  m.out(pages.begin, 1);
  int child = 0;
  run.task("orders", [&] { give_orders(m); });
  run.task("program", [&] { child = m.fork(); });
  run.go();
  MUST(m.child_read(child, pages.begin) == 1);
  MUST(m.read(pages.begin) == 1);
  m.sim().child_exit(child);
  m.check();
}

void orders_during_clone(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(2), copies = m.map(2, 600);
  m.out(pages.begin, 1);
  m.write(pages.begin + 1, 2);
  bool cloned = false;
  run.task("orders", [&] { give_orders(m); });
  run.task("program", [&] {
    cloned = m.clone(pages, copies.begin);
    if (cloned) sync::mark("the clone is made");
  });
  run.go();
  for (std::uint64_t i = 0; i < 2; ++i) {
    MUST(m.read(pages.begin + i) == i + 1);
    if (cloned) MUST(m.read(copies.begin + i) == i + 1);
  }
  m.check();
}

void orders_during_tidying(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(2);
  m.out(pages.begin, 1, Machine::Tier::kDevice);
  m.out(pages.begin + 1, 2, Machine::Tier::kDevice);
  run.task("orders", [&] { give_orders(m); });
  run.task("monitor", [&] {
    m.space().tidy_devices(m.worker());
    m.settle_writes();
  });
  run.task("program", [&] { MUST(m.read(pages.begin) == 1); });
  run.go();
  m.finish_writes();
  for (std::uint64_t i = 0; i < 2; ++i) MUST(m.read(pages.begin + i) == i + 1);
  m.check();
}

void orders_during_recompression(Run& run) {
  Machine m(run, {});
  PageRange pages = m.map(1);
  m.out(pages.begin, Machine::kDense);
  run.task("orders", [&] { give_orders(m); });
  run.task("monitor", [&] {
    m.recompress();
    m.recompress();
  });
  run.task("program", [&] {
    MUST(m.read(pages.begin) == Machine::kDense);
    m.page_out(pages);
  });
  run.go();
  MUST(m.read(pages.begin) == Machine::kDense);
  m.check();
}

void orders_during_adoption(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(1), other{pages.begin + 8, pages.begin + 9};
  m.out(pages.begin, 1);
  m.map_unmanaged(other);
  m.write(other.begin, 2);
  run.task("orders", [&] { give_orders(m); });
  run.task("monitor", [&] {
    using Adopted = vm::Space::Adopted;
    if (m.space().adopt(other, m.worker()) == Adopted::kYes) sync::mark("the range is adopted");
    m.page_out({pages.begin, other.end});
  });
  run.task("program", [&] { MUST(m.read(pages.begin) == 1); });
  run.go();
  MUST(m.read(pages.begin) == 1);
  MUST(m.read(other.begin) == 2);
  m.check();
}

// A device whose pages found no room is in use again, and goes when there is room.
void swapoff_after_a_refusal(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(2);
  m.out(pages.begin, 1, Machine::Tier::kDevice);
  m.out(pages.begin + 1, 2, Machine::Tier::kDevice);
  run.task("orders", [&] {
    m.space().set_zswap_max(0);
    MUST(m.swap_off(0) == vm::Space::SwapOff::kNoMemory);
    m.space().set_zswap_max(memgroup::kNoLimit);
    MUST(m.swap_off(0) == vm::Space::SwapOff::kDone);
  });
  run.task("program", [&] { MUST(m.read(pages.begin) == 1); });
  run.go();
  for (std::uint64_t i = 0; i < 2; ++i) MUST(m.read(pages.begin + i) == i + 1);
  m.check();
}

}  // namespace

std::vector<Scenario> order_scenarios() {
  return {
      {.name = "orders_of_the_pool",
       .body = orders_of_the_pool,
       .bound = 3,
       .surprised_bound = 0,
       .marks = {"reclaim: the pool takes no more"}},
      {.name = "orders_of_devices",
       .body = orders_of_devices,
       .surprised_bound = 0,
       .marks = {"writeback: the victim is in use, or gone"}},
      {.name = "orders_of_limits",
       .body = orders_of_limits,
       .surprised_bound = 0,
       .marks = {"fault: makes room first"}},
      {.name = "orders_during_swapoff",
       .body = orders_during_swapoff,
       .surprised_bound = 0,
       .marks = {"writeback: the victim is in use, or gone", "fault: starts over"}},
      {.name = "orders_during_fork",
       .body = orders_during_fork,
       .surprised_bound = 0,
       .marks = {"the child is filled"}},
      {.name = "orders_during_clone",
       .body = orders_during_clone,
       .surprised_bound = 0,
       .marks = {"the clone is made"}},
      {.name = "orders_during_tidying",
       .body = orders_during_tidying,
       .surprised_bound = 0,
       .marks = {"cleaning: segments are packed again"}},
      {.name = "orders_during_recompression",
       .body = orders_during_recompression,
       .surprised_bound = 0,
       .marks = {"zswap: an object is packed again"}},
      {.name = "orders_during_adoption",
       .body = orders_during_adoption,
       .surprised_bound = 0,
       .marks = {"the range is adopted", "fault: starts over"}},
      {.name = "swapoff_after_a_refusal",
       .body = swapoff_after_a_refusal,
       .marks = {"fault: loads with a mark"},
       .mutants = {{sync::Mutant::kForgetThaw, "forget_thaw"}}},
  };
}

}  // namespace coldpress::testing
