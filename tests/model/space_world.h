// World: a Space on the simulated machine, a reference that says what every page must read, and the
// operations that a random test draws from.
//
// The reference is a map from page to content, zero otherwise. Two things make a page's content a choice of
// two for a while, `maybe_zero`: MADV_FREE until the next write, and a MADV_DONTNEED whose drop is still to
// come. A read that finds zero settles it: the old content must never come back.
//
// One thread. Layout changes stay under way (`changes_`) while other operations run; their stages are taken
// at random. `corrupt` pages must give SIGBUS, all others must not.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "memgroup/group.h"
#include "os/sim/sim_device.h"
#include "os/sim/sim_mmu.h"
#include "support/heap_memory.h"
#include "support/page_pattern.h"
#include "vm/space.h"

namespace coldpress::testing {

struct WorldOptions {
  std::uint64_t seed = 1;
  std::uint64_t limit_pages = 800;
  std::uint32_t frame_count = 512;
  codec::Choice codec;
  os::SimInterference interference;
  bool late_forks = false;
  // Pages of address space, at most kPages. With few of them addresses are used again at once.
  std::uint64_t pages = 512 * 3;
  // Blocks of the swap devices, two of them; 0: none.
  std::uint64_t device_bytes = 0;
  // Of both. Pages may be lost, unless these are of writes that say so; they read SIGBUS then.
  os::SimDevice::Faults device_faults;
  // As in the library: ranges are managed from the start, and what is in memory is counted by the engine, for
  // memory groups.
  bool counted = false;
  // Of the engine's memory, after it has begun: HeapMemory::fail_calls().
  std::size_t fail_memory_at = 0, fail_memory_times = 1;
  bool trace = false;
};

struct ReferencePage {
  PageContent content{};
  bool corrupt = false;
  bool maybe_zero = false;
  bool written_in_gap = false;  // since a MADV_DONTNEED that is under way began
};
using Reference = std::map<std::uint64_t, ReferencePage>;

class World final : public os::FaultHandler, public vm::ForkHandler, public vm::UsageSource {
 public:
  static constexpr PageIndex kBase{512 * 100};
  static constexpr std::uint64_t kPages = 512 * 3;

  explicit World(const WorldOptions& options);
  // Whatever the test was about: the accounts close.
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  struct Operation {
    const char* name;
    void (World::*run)();
  };
  static const std::vector<Operation>& operations();

  // --- operations (space_world_access.cc)
  void map_some();
  void write_some();
  void write_word();
  void read_some();
  void pin_some();
  void corrupt_some();
  void reclaim_some();
  void page_out_some();
  void page_in_some();
  void adopt_some();
  void release_some();
  void clone_some();
  void protect_some();
  void keep_resident_some();
  void change_limit();
  void write_back_some();
  void swap_off_some();
  void group_some();
  // --- operations (space_world_layout.cc)
  void unmap_some();
  void dontneed_some();
  void free_some();
  void take_lazy_some();
  void remap_some();
  void grow_some();
  void fork_some();
  void storm();
  void change_interference();
  void change_device();
  void step_some();

  // Of a device, to its end, in as many slices of time as it takes. It waits for room for a second.
  vm::Space::SwapOff swap_off(std::size_t area);
  // Takes all changes that are under way to their end.
  void finish_changes();
  void verify_everything();
  // What slots, page words, gauges and the machine say about each other, with no change under way.
  void check_structure();
  // Unmaps everything and checks that nothing is left.
  void close();

  bool broken() const { return broken_; }
  std::string last_operations() const;
  void note(const std::string& text);

  // --- parts, for tests of single cases
  os::SimMmu& sim() { return sim_; }
  vm::Space& space() { return space_; }
  vm::Worker& worker() { return worker_; }
  memgroup::Group& group() { return group_; }
  memgroup::Stats& stats() { return stats_; }
  bool take_one_message();
  bool write_page(PageIndex page, const PageContent& content);
  // As the library does it. false: refused, and `to` has a part.
  bool clone(PageRange from, PageIndex to);
  // Reads the page and compares. false: wrong, and said so.
  bool check_page(PageIndex page);
  void adopt(PageRange range);
  void map_range(PageRange range, bool adopt);
  void map_range_unwritten();
  bool corrupt_one(PageIndex page);
  void refresh_usage();
  void settle_moves();
  HeapMemory& memory() { return memory_; }
  os::SimDevice& device(std::size_t number) { return devices_[number]; }
  std::uint64_t clones() const { return clones_; }
  // How often the engine may ask whether to go on, before it hears no.
  void allow_steps(unsigned steps) { keep_going_left_ = steps; }
  // The same for what a fault reclaims.
  void allow_steps_of_faults(unsigned steps) { steps_of_faults_ = steps; }
  // Whether the usage stays as the test has set it.
  void keep_usage(bool kept) { usage_kept_ = kept; }

 private:
  enum class Kind { kUnmap, kRemove, kFree, kRemap, kFork };
  struct Change {
    os::ChangeId id;
    Kind kind;
    PageRange range, target;
    bool keeps_source = false;
    int child = -1;
    Reference snapshot;  // kFork: what the child must read
    std::vector<PageRange> mapped;
  };

  void on_fault(PageIndex page, bool write) override;
  void on_fork(int child, bool, vm::Worker& worker) override NO_THREAD_SAFETY_ANALYSIS;
  bool keep_going() override;
  void pressure() override {}

  void fail(const std::string& what);
  void add_device(std::size_t number);
  bool matches(const std::byte* bytes, ReferencePage* reference, PageIndex page, const char* who);
  // Whether a call under way says what becomes of the range: nobody else touches it then. What it has left
  // may be used by others at once.
  bool busy(PageRange range) const;
  bool forking() const;
  bool being_dropped(PageIndex page) const;
  // A range of at most `pages` pages within one mapping that no change touches; empty when there is none.
  PageRange pick(std::uint64_t pages, bool need_writable = false, bool whole = false);
  PageIndex pick_free(std::uint64_t pages);
  bool lost_by_device(os::Access access, ReferencePage* reference);
  bool damage_fits(PageRange range, bool shown);
  void track(Change change);
  void settle(Change& change);
  void check_child(Change& change);
  void forget_pages(PageRange range);
  bool step_change(std::size_t index);

  Random random_;
  bool trace_;
  bool counted_;
  bool devices_lose_;
  std::vector<memgroup::AccountId> groups_;
  std::uint64_t pages_;
  bool storming_ = false;
  bool usage_kept_ = false;
  unsigned steps_of_faults_ = 64;
  bool broken_ = false;
  unsigned keep_going_left_ = 0;
  std::vector<std::string> log_;
  HeapMemory memory_;
  memgroup::Stats stats_;
  memgroup::Group group_;
  os::SimMmu sim_;
  os::SimDevice devices_[2];
  bool swapping_off_[2] = {};
  std::size_t areas_[2] = {swap::kMaxAreas, swap::kMaxAreas};
  vm::Space space_;
  vm::Worker worker_;
  Reference reference_;
  std::vector<Change> changes_;
  std::vector<PageIndex> pinned_;
  bool frames_differ_ = false;  // from what the engine knows: taken by the machine, or populated
  std::uint64_t clones_ = 0;    // that were made
  std::uint64_t next_number_ = 1;
};

}  // namespace coldpress::testing
