// What goes on beside programs: recompression, memory groups, an end with I/O under way; and what a capture
// may believe after it has let others in.
#include "sched/machine.h"
#include "sched/scenarios/scenarios.h"

namespace coldpress::testing {
namespace {

using Mutant = sync::Mutant;

// A page is packed harder while it is loaded, goes out again, and another page gets its entry.
constexpr std::uint64_t kFirst = Machine::kDense;

void recompression_against_load(Run& run) {
  Machine m(run, {});
  PageRange pages = m.map(2);
  m.out(pages.begin, kFirst);
  run.task("monitor", [&] {
    m.recompress();
    m.recompress();
  });
  run.task("program", [&] {
    MUST(m.read(pages.begin) == kFirst);
    m.write(pages.begin + 1, kFirst + 1);
    m.page_out(pages);
    MUST(m.read(pages.begin + 1) == kFirst + 1);
  });
  run.go();
  for (std::uint64_t i = 0; i < 2; ++i) MUST(m.read(pages.begin + i) == kFirst + i);
  m.check();
}

// The page comes back, and its object goes, while that is packed again.
void recompression_against_free(Run& run) {
  Machine m(run, {});
  PageRange pages = m.map(1);
  m.out(pages.begin, kFirst);
  run.task("monitor", [&] {
    m.recompress();
    m.recompress();  // at the second look it is packed
  });
  run.task("program", [&] { MUST(m.read(pages.begin) == kFirst); });
  run.go();
  MUST(m.read(pages.begin) == kFirst);
  m.check();
}

void recompression_against_writeback(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(1);
  m.out(pages.begin, kFirst);
  run.task("monitor", [&] {
    m.recompress();
    m.recompress();
  });
  run.task("writer", [&] { m.write_back(); });
  run.task("program", [&] { MUST(m.read(pages.begin) == kFirst); });
  run.go();
  m.finish_writes();
  MUST(m.read(pages.begin) == kFirst);
  m.check();
}

// The background is about to sleep when faults bring usage above the high mark, and does not look at the
// clock: somebody must wake it.
void faults_against_sleep(Run& run) {
  constexpr std::int64_t kHigh = 1;  // pages
  Machine m(run, {.counted = true});
  PageRange pages = m.map(9);
  PageIndex first = pages.begin, second = first + 8, third = first + 4;  // each faults by itself
  m.write(first, 1);
  m.group().set_high(kHigh);
  MUST(m.space().turns().claim());  // the background is awake
  sync::Event done;
  bool reclaimed = false;
  auto above = [&] { return m.group().usage() > kHigh; };
  run.task("background", [&] {
    while (!reclaimed) {
      std::uint32_t ticket = m.pressed().ticket();
      if (above()) {
        m.space().reclaim_to(kHigh, m.worker());
        reclaimed = true;
      } else {
        m.space().turns().sleep(m.pressed(), ticket, [&] { return above() ? 1 : sync::kForever; });
      }
    }
    done.signal();
  });
  run.task("program", [&] {
    std::uint32_t ticket = done.ticket();
    m.write(second, 2);
    m.write(third, 3);  // finds usage above the mark
    done.wait(ticket);
  });
  run.go();
  MUST(m.read(first) == 1 && m.read(second) == 2 && m.read(third) == 3);
  m.check();
}

// Between two runs of a capture the program unmaps what comes next, and maps something there that the engine
// does not know.
void new_mapping_between_runs(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(3);
  PageRange last{pages.begin + 2, pages.end};
  m.write(pages.begin, 1);
  m.write(last.begin, 3);
  run.task("reclaim", [&] { m.page_out(pages); });
  run.task("program", [&] {
    m.unmap(last);
    m.map_unmanaged(last);
    m.write(last.begin, 33);
    MUST(m.read(last.begin) == 33);
  });
  run.go();
  MUST(m.read(pages.begin) == 1);
  MUST(m.read(last.begin) == 33);
  m.check();
}

// Two groups: reclaim of one while both are used. Who pays is closed by check().
void group_reclaim_against_faults(Run& run) {
  Machine m(run, {.counted = true});
  PageRange one = m.map(2), other = m.map(1, 8);
  memgroup::AccountId small = m.group_with(one, {.max = 2}), large = m.group_with(other, {});
  m.out(one.begin, 1);
  m.write(one.begin + 1, 2);
  m.write(other.begin, 3);
  run.task("monitor", [&] {
    if (m.space().reclaim_group(small, 0, m.worker())) sync::mark("all of the group is out");
  });
  run.task("program", [&] {
    MUST(m.read(one.begin) == 1);
    MUST(m.read(other.begin) == 3);
  });
  run.go();
  MUST(m.group().accounts()[small].pgsteal.load() > 1);  // beside the one of before
  MUST(m.group().accounts()[large].pgsteal.load() == 0);
  MUST(m.read(one.begin) == 1);
  MUST(m.read(one.begin + 1) == 2);
  m.check();
}

// A group is full: a fault in its range makes room there before it brings the page.
void faults_in_a_full_group(Run& run) {
  Machine m(run, {.counted = true});
  PageRange pages = m.map(3), one{pages.begin, pages.begin + 2}, other{one.end, pages.end};
  memgroup::AccountId small = m.group_with(one, {.max = 1});
  m.out(one.begin, 1);
  m.out(one.begin + 1, 2);
  m.write(other.begin, 3);
  for (std::uint64_t i = 0; i < 2; ++i) {
    run.task(i == 0 ? "first" : "second", [&m, one, i] { MUST(m.read(one.begin + i) == i + 1); });
  }
  run.go();
  const memgroup::Account& account = m.group().accounts()[small];
  MUST(m.stats().pgsteal.load() == account.pgsteal.load());
  if (account.reached_max.load() > 0) MUST(account.pgsteal.load() > 2);  // beside the two of before
  m.group().accounts().set_limits(small, {});
  for (std::uint64_t i = 0; i < 3; ++i) MUST(m.read(pages.begin + i) == i + 1);
  m.check();
}

// A group's range moves while its page goes out, and the group ends.
void group_moves_and_ends(Run& run) {
  Machine m(run, {.takes_messages = true, .counted = true});
  PageRange pages = m.map(1);
  PageIndex there = pages.begin + 8;
  memgroup::AccountId group = m.group_with(pages, {});
  m.write(pages.begin, 1);
  run.task("reclaim", [&] { m.page_out({pages.begin, there + 1}); });
  run.task("program", [&] {
    m.move(pages, there);
    m.space().close_group(group);
    MUST(m.read(there) == 1);
  });
  run.go();
  MUST(m.read(there) == 1);
  m.check();
  MUST(!m.group().accounts()[group].charged());
}

// The pager ends: everything is released while writes are under way.
void end_with_writes_under_way(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(2);
  m.out(pages.begin, 1);
  m.out(pages.begin + 1, 2);
  run.task("writer", [&] { m.write_back(); });
  run.task("end", [&] {
    MUST(m.space().release(pages, m.worker()));
    MUST(m.read(pages.begin) == 1);
  });
  run.go();
  m.finish_writes();
  for (std::uint64_t i = 0; i < 2; ++i) MUST(m.read(pages.begin + i) == i + 1);
  MUST(m.space().devices().records() == 0 && m.stats().stored_pages.load() == 0);
  m.check();
}

// The same while a page is read from a device for somebody.
void end_with_reads_under_way(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(1);
  m.out(pages.begin, 1, Machine::Tier::kDevice);
  run.task("reader", [&] { MUST(m.read(pages.begin) == 1); });
  run.task("end", [&] {
    MUST(m.space().release(pages, m.worker()));
    MUST(!m.space().pages().get(pages.begin).is_out());
    MUST(m.read(pages.begin) == 1);
  });
  run.go();
  MUST(m.read(pages.begin) == 1);
  MUST(m.space().devices().records() == 0);
  m.check();
}

}  // namespace

std::vector<Scenario> background_scenarios() {
  return {
      {.name = "recompression_against_load",
       .body = recompression_against_load,
       .random = 500,
       .marks = {"zswap: an object is packed again"}},
      {.name = "recompression_against_free",
       .body = recompression_against_free,
       .bound = 3,
       .marks = {"zswap: an object is packed again"},
       .mutants = {{Mutant::kRecompressUnlocked, "recompress_unlocked"}}},
      {.name = "recompression_against_writeback",
       .body = recompression_against_writeback,
       .random = 500,
       .marks = {"zswap: an object is packed again"}},
      {.name = "new_mapping_between_runs",
       .body = new_mapping_between_runs,
       .surprised_bound = 0,
       .random = 5000,
       .marks = {"capture: the layout has changed between two runs"},
       .mutants = {{Mutant::kStaleScan, "stale_scan"}}},
      {.name = "faults_against_sleep",
       .body = faults_against_sleep,
       .bound = 3,
       .mutants = {{Mutant::kTickFirst, "tick_first"}, {Mutant::kClaimQuietly, "claim_quietly"}}},
      {.name = "group_reclaim_against_faults",
       .body = group_reclaim_against_faults,
       .bound = 3,
       .marks = {"all of the group is out"}},
      {.name = "faults_in_a_full_group",
       .body = faults_in_a_full_group,
       .marks = {"fault: makes room in its group first"}},
      {.name = "group_moves_and_ends",
       .body = group_moves_and_ends,
       .surprised_bound = 0,
       .marks = {"capture: the layout has changed between two runs"},
       .mutants = {{Mutant::kLosePayer, "lose_payer"}}},
      {.name = "end_with_reads_under_way",
       .body = end_with_reads_under_way,
       .bound = 3,
       .marks = {"fault: sleeps on a mark"},
       .mutants = {{Mutant::kMarkWakesNobody, "mark_wakes_nobody"}}},
      {.name = "end_with_writes_under_way",
       .body = end_with_writes_under_way,
       .bound = 3,
       .marks = {"writeback: the victim is in use, or gone"}},
  };
}

}  // namespace coldpress::testing
