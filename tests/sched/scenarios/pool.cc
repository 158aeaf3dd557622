// Mail 001: storing, reading and freeing objects of the pool against compaction.
//
// The kernel's bug: reading an object moved its zspage in a list, while reclaim had taken the zspage off it.
#include <cstring>

#include "sched/arena.h"
#include "sched/machine.h"
#include "sched/scenarios/scenarios.h"

namespace coldpress::testing {
namespace {

using Mutant = sync::Mutant;
using zspool::Handle;
using zspool::Pinned;
using zspool::ZsPool;

Arena& arena() {
  static Arena one;
  return one;
}

// Two zspages of eight objects each: the first has one or two, the second as many as leave room for these, or
// all.
class Objects {
 public:
  static constexpr std::size_t kBytes = 496;
  explicit Objects(std::uint32_t in_first = 1, bool second_is_full = false) {
    arena().reset();
    MUST(pool_.init(arena(), 4 << 20));
    std::uint32_t in_one = kSizeClassOf().objects;
    MUST(in_one == 8);
    std::vector<Handle> all;
    for (std::uint32_t i = 0; i < 2 * in_one; ++i) all.push_back(store(i + 1));
    for (std::uint32_t i = 0; i < 2 * in_one; ++i) {
      bool stays = i < in_one ? i < in_first : second_is_full || i >= in_one + in_first;
      if (stays) {
        kept_.push_back(all[i]);
        numbers_.push_back(i + 1);
      } else {
        pool_.free(all[i], kBytes);
      }
    }
  }
  ZsPool& pool() { return pool_; }
  Handle store(std::uint64_t number) {
    Handle handle = pool_.allocate(kBytes);
    MUST(handle);
    if (sync::is_mutant(Mutant::kWriteUnpinned)) {
      std::byte* where = pool_.data(handle);
      sync::let_others_run();
      fill(where, number);
    } else {
      fill(Pinned(pool_, handle).data(), number);
    }
    return handle;
  }
  bool holds(Handle handle, std::uint64_t number) {
    std::byte expected[kBytes];
    fill(expected, number);
    return std::memcmp(Pinned(pool_, handle).data(), expected, kBytes) == 0;
  }
  Handle sparse() const { return kept_[0]; }  // in the first
  void check() {
    pool_.validate();
    for (std::size_t i = 0; i < kept_.size(); ++i) {
      MUST(holds(kept_[i], numbers_[i]));
      pool_.free(kept_[i], kBytes);
    }
    MUST(pool_.pages() == 0);
    pool_.validate();
  }
  void forget_sparse() { forget(0); }
  // Frees the last two of the second zspage.
  void free_two() {
    for (int i = 0; i < 2; ++i) {
      pool_.free(kept_.back(), kBytes);
      forget(kept_.size() - 1);
    }
  }

 private:
  static const zspool::SizeClass& kSizeClassOf() {
    return zspool::kSizeClasses.classes[zspool::kSizeClasses.index_for(kBytes + 4)];
  }
  void forget(std::size_t index) {
    kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(index));
    numbers_.erase(numbers_.begin() + static_cast<std::ptrdiff_t>(index));
  }
  static void fill(std::byte* into, std::uint64_t number) {
    for (std::size_t i = 0; i + 8 <= kBytes; i += 8) std::memcpy(into + i, &number, 8);
  }

  ZsPool pool_;
  std::vector<Handle> kept_;
  std::vector<std::uint64_t> numbers_;
};

void compaction_against_read(Run& run) {
  Objects objects(2);
  run.task("compactor", [&] { objects.pool().compact(100); });
  run.task("reader", [&] {
    MUST(objects.holds(objects.sparse(), 1));
    MUST(objects.holds(objects.sparse(), 1));
  });
  run.go();
  objects.check();
}

void compaction_against_free(Run& run) {
  Objects objects;
  run.task("compactor", [&] { objects.pool().compact(100); });
  run.task("owner", [&] { objects.pool().free(objects.sparse(), Objects::kBytes); });
  run.go();
  objects.forget_sparse();
  objects.check();
}

// Room appears beside the zspage that an object was just given, so that it moves before it is written.
void compaction_against_store(Run& run) {
  Objects objects(1, true);
  Handle stored;
  run.task("compactor", [&] { objects.pool().compact(100); });
  run.task("owner", [&] {
    stored = objects.store(77);
    MUST(objects.holds(stored, 77));
  });
  run.task("another", [&] { objects.free_two(); });
  run.go();
  MUST(objects.holds(stored, 77));
  objects.pool().free(stored, Objects::kBytes);
  objects.check();
}

// The only object of a zspage goes while another is given out of it.
void free_against_store(Run& run) {
  Objects objects(1, true);
  Handle stored;
  run.task("one", [&] { objects.pool().free(objects.sparse(), Objects::kBytes); });
  run.task("another", [&] { stored = objects.store(77); });
  run.go();
  objects.forget_sparse();
  objects.pool().validate();
  MUST(objects.holds(stored, 77));
  objects.pool().free(stored, Objects::kBytes);
  objects.check();
}

void two_compactors_and_a_reader(Run& run) {
  Objects objects;
  for (int i = 0; i < 2; ++i) {
    run.task("compactor", [&] { objects.pool().compact(100); });
  }
  run.task("reader", [&] { MUST(objects.holds(objects.sparse(), 1)); });
  run.go();
  objects.check();
}

// The same on the whole engine. Two zspages of six objects, of which the first holds one and the second two:
// a page is stored and becomes the second's third, two are loaded, so that it is alone there, and the pool is
// compacted.
void store_against_compaction(Run& run) {
  constexpr std::uint64_t kPages = 12, kFirst = Machine::kDense;
  Machine m(run, {});
  PageRange pages = m.map(kPages);
  PageIndex stored = pages.begin;
  for (std::uint64_t i = 0; i < kPages; ++i) m.out(pages.begin + i, kFirst + i);
  MUST(m.space().zswap().pool().pages() == 8);
  for (std::uint64_t i : {9, 8, 7, 6, 4, 3, 2, 1, 0}) MUST(m.read(pages.begin + i) == kFirst + i);
  run.task("compactor", [&] { m.space().zswap().pool().compact(100); });
  run.task("reclaim", [&] { m.page_out({stored, stored + 1}); });
  run.task("program", [&] {
    for (std::uint64_t i : {11, 10}) MUST(m.read(pages.begin + i) == kFirst + i);  // no stream
  });
  run.go();
  for (std::uint64_t i = 0; i < kPages; ++i) MUST(m.read(pages.begin + i) == kFirst + i);
  m.check();
}

}  // namespace

std::vector<Scenario> pool_scenarios() {
  return {
      {.name = "compaction_against_read",
       .body = compaction_against_read,
       .bound = 3,
       .marks = {"zspool: compaction moves an object", "zspool: compaction leaves what is pinned",
                 "zspool: waits for who has it pinned"},
       .mutants = {{Mutant::kListAtAccess, "list_at_access"}, {Mutant::kRetryBusy, "retry_busy"}}},
      {.name = "compaction_against_free",
       .body = compaction_against_free,
       .bound = 3,
       .marks = {"zspool: compaction moves an object"},
       .mutants = {{Mutant::kFreeUnpinned, "free_unpinned"}, {Mutant::kKeepEmpty, "keep_empty"}}},
      {.name = "free_against_store",
       .body = free_against_store,
       .bound = 3,
       .mutants = {{Mutant::kInferState, "infer_state"}}},
      {.name = "compaction_against_store",
       .body = compaction_against_store,
       .bound = 3,
       .marks = {"zspool: compaction moves an object"},
       .mutants = {{Mutant::kWriteUnpinned, "write_unpinned"}}},
      {.name = "two_compactors_and_a_reader",
       .body = two_compactors_and_a_reader,
       .bound = 3,
       .marks = {"zspool: waits for who has it pinned", "zspool: compaction leaves what is pinned"}},
      {.name = "store_against_compaction",
       .body = store_against_compaction,
       .marks = {"zspool: compaction moves an object"},
       .mutants = {{Mutant::kWriteUnpinned, "write_unpinned"}, {Mutant::kListAtAccess, "list_at_access"}}},
  };
}

}  // namespace coldpress::testing
