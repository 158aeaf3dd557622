// What the tables take for each page, at 1 GiB of pages: the numbers of docs/architecture.md, "Memory".
#include <gtest/gtest.h>

#include <cstdio>

#include "os/sim/sim_mmu.h"
#include "support/page_pattern.h"
#include "support/space_access.h"

namespace coldpress::testing {
namespace {

class Gigabyte final : public os::FaultHandler {
 public:
  static constexpr std::uint64_t kPages = 1 << 18;
  static constexpr PageRange kRange{{512 * 100}, {512 * 100 + kPages}};

  Gigabyte() {
    group_.init(4 * kPages, &stats_);
    vm::SpaceOptions options{.pool_bytes = 1 << 30, .max_slots = 2 * kPages, .max_leaves = 2048};
    ready_ = space_.init(memory_, sim_, group_, options) && make_worker(memory_, {}, worker_);
    sim_.set_fault_handler(this);
    sim_.map(kRange);
    ready_ = ready_ && space_.adopt(kRange, worker_) == vm::Space::Adopted::kYes;
  }
  // A part after the other goes out, so that the simulated machine need not hold all of it.
  template <typename Content>
  void write(std::uint64_t first, std::uint64_t end, Content content) {
    constexpr std::uint64_t kPart = 2048;
    for (std::uint64_t i = first; i < end; ++i) {
      PageContent bytes = content(i);
      ASSERT_EQ(sim_.write(kRange.begin + i, 0, bytes.data(), kPageBytes), os::Access::kOk);
      if ((i + 1) % kPart == 0)
        space_.page_out({kRange.begin + (i + 1 - kPart), kRange.begin + (i + 1)}, worker_);
    }
  }
  double metadata_bytes() { return static_cast<double>(space_.metadata_pages() * kPageBytes); }
  bool ready() const { return ready_; }
  const memgroup::Stats& stats() const { return stats_; }
  vm::Space& space() { return space_; }

 private:
  void on_fault(PageIndex page, bool write) override { space_.handle_fault(page, write, worker_); }

  HeapMemory memory_;
  memgroup::Stats stats_;
  memgroup::Group group_;
  os::SimMmu sim_{{.frame_count = 512}};
  vm::Space space_;
  vm::Worker worker_;
  bool ready_ = false;
};

// 8 for the page word, 8 for the slot, 1/8 for the bit that says that it is free. What is there once is left
// out by counting the second half of the pages.
TEST(SpaceMetadata, OfAPageThatIsOut) {
  constexpr std::uint64_t kHalf = Gigabyte::kPages / 2;
  Gigabyte machine;
  ASSERT_TRUE(machine.ready());
  EXPECT_LE(machine.metadata_bytes() / Gigabyte::kPages, 0.25) << "managed, and never out";
  auto zeros = [](std::uint64_t) { return PageContent{}; };
  machine.write(0, kHalf, zeros);
  double first_half = machine.metadata_bytes();
  machine.write(kHalf, Gigabyte::kPages, zeros);
  ASSERT_EQ(machine.stats().same_filled_pages.load(), Gigabyte::kPages);
  double out = (machine.metadata_bytes() - first_half) / kHalf,
         all = machine.metadata_bytes() / Gigabyte::kPages;
  std::printf("a page that is out: %.3f bytes; with what is there once: %.3f\n", out, all);
  EXPECT_LE(out, 16.14);
  EXPECT_LE(all, 16.5);
}

// 28 for the entry, 8 for the handle, and a share in the 20 of the zspage, which has one object or many. (In
// the object itself are 4 more, which count as the pool's.) 40 at most.
TEST(SpaceMetadata, OfACompressedPage) {
  auto words = [](std::size_t noisy) {
    return [noisy](std::uint64_t page) {
      PageContent content{};
      Random random(page + 1);
      for (std::size_t i = 0; i < kPageWords; ++i) content[i] = i < noisy ? random.next() : page;
      return content;
    };
  };
  for (std::size_t noisy : {60, 120, 160, 200, 240, 300, 370}) {
    Gigabyte machine;
    ASSERT_TRUE(machine.ready());
    machine.write(0, Gigabyte::kPages, [](std::uint64_t) { return PageContent{}; });
    double out = machine.metadata_bytes();
    machine.write(0, Gigabyte::kPages, words(noisy));
    ASSERT_EQ(machine.stats().stored_pages.load(), Gigabyte::kPages);
    double more = (machine.metadata_bytes() - out) / Gigabyte::kPages, zspages = 0;
    zspool::ZsPool& pool = machine.space().zswap().pool();
    for (std::size_t i = 0; i < zspool::ZsPool::class_count(); ++i)
      zspages += static_cast<double>(pool.class_stats(i).zspages);
    double in_one = Gigabyte::kPages / zspages;
    double bytes = static_cast<double>(pool.stats().object_bytes) / Gigabyte::kPages;
    std::printf("compressed to %4.0f bytes, %5.1f objects in a zspage: %.3f bytes more\n", bytes, in_one,
                more);
    EXPECT_LE(more, 36.1 + 20 / in_one);
    EXPECT_LE(more, 40);
  }
}

}  // namespace
}  // namespace coldpress::testing
