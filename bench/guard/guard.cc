// Faults and evictions on the simulated machine, for counting instructions: the same every time.
//
//   guard PAGES     evicts and loads that many pages, by fault_pages() and evict_pages(), which guard.py
//                   tells callgrind to count
#include <cstdio>
#include <cstdlib>

#include "memgroup/group.h"
#include "os/sim/sim_mmu.h"
#include "support/heap_memory.h"
#include "support/page_pattern.h"
#include "support/space_access.h"
#include "vm/space.h"

namespace coldpress {
namespace {

class Machine {
 public:
  explicit Machine(std::uint64_t pages) : range_{{kFirst}, {kFirst + pages}}, sim_({.frame_count = 256}) {
    group_.init(std::uint64_t{1} << 30, &stats_);
    vm::SpaceOptions options{.pool_bytes = 256 << 20, .max_slots = 1 << 18, .max_leaves = 1 << 12};
    COLDPRESS_CHECK(space_.init(memory_, sim_, group_, options));
    COLDPRESS_CHECK(testing::make_worker(memory_, {codec::Kind::kLz4, 1}, worker_));
    sim_.map(range_);
    for (PageIndex page = range_.begin; page < range_.end; page = page + 1) {
      testing::PageContent content = testing::make_content(testing::ContentKind::kCompressible, page.value);
      COLDPRESS_CHECK(sim_.write(page, 0, content.data(), kPageBytes) == os::Access::kOk);
    }
    COLDPRESS_CHECK(space_.adopt(range_, worker_) == vm::Space::Adopted::kYes);
  }
  std::uint64_t evict() { return space_.page_out(range_, worker_); }
  void fault() {
    for (PageIndex page = range_.begin; page < range_.end; page = page + 1) {
      space_.handle_fault(page, false, worker_);
    }
  }
  std::uint64_t loads() const { return stats_.zswpin.load(); }

 private:
  static constexpr std::uint64_t kFirst = 1 << 20;
  PageRange range_;
  testing::HeapMemory memory_;
  memgroup::Stats stats_;
  memgroup::Group group_;
  os::SimMmu sim_;
  vm::Space space_;
  vm::Worker worker_;
};

}  // namespace
}  // namespace coldpress

extern "C" [[gnu::noinline]] std::uint64_t evict_pages(coldpress::Machine& machine) {
  return machine.evict();
}
extern "C" [[gnu::noinline]] void fault_pages(coldpress::Machine& machine) { machine.fault(); }

int main(int argc, char** argv) {
  std::uint64_t pages = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 2000;
  coldpress::Machine machine(pages);
  std::uint64_t evicted = evict_pages(machine);
  fault_pages(machine);
  if (evicted != pages || machine.loads() != pages) {
    std::fprintf(stderr, "guard: %llu pages were evicted and %llu loaded, not all %llu\n",
                 static_cast<unsigned long long>(evicted), static_cast<unsigned long long>(machine.loads()),
                 static_cast<unsigned long long>(pages));
    return 1;
  }
  return 0;
}
