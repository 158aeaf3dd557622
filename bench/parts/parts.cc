// The engine's parts alone, by Google Benchmark: codecs, the pool's operations and its fragmentation, slots
// with and without contention, pages captured and installed in runs. The codecs' pages are those of the file
// that COLDPRESS_BENCH_PAGES names (bench/dump_pages), else made ones.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <vector>

#include "codec/codec.h"
#include "os/linux/linux_mmu.h"
#include "support/heap_memory.h"
#include "support/page_pattern.h"
#include "swap/slot_table.h"
#include "zspool/zspool.h"

namespace coldpress {
namespace {

using testing::ContentKind;
using testing::HeapMemory;
using testing::PageContent;

std::vector<PageContent> pages_to_compress() {
  std::vector<PageContent> pages(256);
  if (const char* name = std::getenv("COLDPRESS_BENCH_PAGES")) {
    std::ifstream file(name, std::ios::binary | std::ios::ate);
    std::streamoff step = file.tellg() / std::streamoff{kPageBytes} / 256;  // pages of every program
    COLDPRESS_CHECK(step > 0);
    for (std::streamoff i = 0; i < 256; ++i) {
      file.seekg(i * step * std::streamoff{kPageBytes});
      auto& page = pages[static_cast<std::size_t>(i)];
      file.read(reinterpret_cast<char*>(page.data()), kPageBytes);
    }
    COLDPRESS_CHECK(file.good());
    return pages;
  }
  for (std::uint64_t i = 0; i < 256; ++i) pages[i] = testing::make_content(ContentKind::kCompressible, i);
  return pages;
}

class CodecBench {
 public:
  explicit CodecBench(codec::Choice choice)
      : bytes_(codec::Codec::workspace_bytes(choice)), workspace_(memory_.allocate(bytes_)) {
    COLDPRESS_CHECK(codec_.init(choice, workspace_, bytes_));
  }
  codec::Codec& codec() { return codec_; }

 private:
  HeapMemory memory_;
  std::size_t bytes_;
  std::byte* workspace_;
  codec::Codec codec_;
};

void compress(benchmark::State& state, codec::Choice choice) {
  CodecBench bench(choice);
  std::vector<PageContent> pages = pages_to_compress();
  std::byte out[kPageBytes];
  std::size_t i = 0, packed = 0;
  for (auto _ : state) {
    const auto* page = reinterpret_cast<const std::byte*>(pages[i++ % pages.size()].data());
    std::size_t bytes = bench.codec().compress(page, out, sizeof out);
    packed += bytes == 0 ? kPageBytes : bytes;
  }
  state.counters["ratio"] = static_cast<double>(i * kPageBytes) / static_cast<double>(packed);
}

void decompress(benchmark::State& state, codec::Choice choice) {
  CodecBench bench(choice);
  std::vector<PageContent> pages = pages_to_compress();
  std::vector<std::vector<std::byte>> packed;
  for (const PageContent& page : pages) {
    std::vector<std::byte> out(kPageBytes);
    out.resize(
        bench.codec().compress(reinterpret_cast<const std::byte*>(page.data()), out.data(), out.size()));
    if (!out.empty()) packed.push_back(std::move(out));
  }
  std::byte page[kPageBytes];
  std::size_t i = 0;
  for (auto _ : state) {
    const std::vector<std::byte>& data = packed[i++ % packed.size()];
    if (!bench.codec().decompress(choice.kind, data.data(), data.size(), page)) {
      state.SkipWithError("what was compressed does not decompress");
      return;
    }
  }
}

// Sizes as compressed pages have: most between a tenth and a half of a page.
std::size_t object_bytes(std::mt19937_64& random) { return 200 + random() % 1800; }

void pool_replace(benchmark::State& state) {
  HeapMemory memory;
  zspool::ZsPool pool;
  COLDPRESS_CHECK(pool.init(memory, std::uint64_t{1} << 30));
  std::mt19937_64 random(1);
  std::vector<std::pair<zspool::Handle, std::size_t>> objects(20000);
  for (auto& [handle, bytes] : objects) handle = pool.allocate(bytes = object_bytes(random));
  for (auto _ : state) {
    auto& [handle, bytes] = objects[random() % objects.size()];
    pool.free(handle, bytes);
    handle = pool.allocate(bytes = object_bytes(random));
    std::memset(pool.data(handle), 1, bytes);
  }
  zspool::PoolStats stats = pool.stats();
  state.counters["pool_over_stored"] =
      static_cast<double>(stats.pages * kPageBytes) / static_cast<double>(stats.object_bytes);
}

void pool_load(benchmark::State& state) {
  HeapMemory memory;
  zspool::ZsPool pool;
  COLDPRESS_CHECK(pool.init(memory, std::uint64_t{1} << 30));
  std::mt19937_64 random(1);
  std::vector<std::pair<zspool::Handle, std::size_t>> objects(20000);
  for (auto& [handle, bytes] : objects) handle = pool.allocate(bytes = object_bytes(random));
  std::byte page[kPageBytes];
  for (auto _ : state) {
    const auto& [handle, bytes] = objects[random() % objects.size()];
    std::memcpy(page, pool.data(handle), bytes);
    benchmark::DoNotOptimize(page);
  }
}

swap::SlotTable& shared_slots() {
  static HeapMemory memory;
  static swap::SlotTable table;
  static bool ready = table.init(memory, 1 << 20);
  COLDPRESS_CHECK(ready);
  return table;
}

void slot_take_and_free(benchmark::State& state) {
  swap::SlotTable& table = shared_slots();
  for (auto _ : state) {
    swap::Entry entry;
    if (table.allocate({&entry, 1}, {1}) != 1) {
      state.SkipWithError("no slot");
      return;
    }
    table.unlock_and_free(entry);
  }
}

void slot_lock(benchmark::State& state) {
  swap::SlotTable& table = shared_slots();
  swap::Entry entry;
  COLDPRESS_CHECK(table.allocate({&entry, 1}, {1}) == 1);
  table.unlock(entry);
  for (auto _ : state) {
    swap::SlotWord word{};
    COLDPRESS_CHECK(table.lock(entry, word));
    table.unlock(entry);
  }
  swap::SlotWord word{};
  COLDPRESS_CHECK(table.lock(entry, word));
  table.unlock_and_free(entry);
}

// All threads want the same slot.
void slot_lock_contended(benchmark::State& state) {
  swap::SlotTable& table = shared_slots();
  static swap::Entry entry = [&] {
    swap::Entry made;
    COLDPRESS_CHECK(table.allocate({&made, 1}, {1}) == 1);
    table.unlock(made);
    return made;
  }();
  for (auto _ : state) {
    swap::SlotWord word{};
    COLDPRESS_CHECK(table.lock(entry, word));
    table.unlock(entry);
  }
}

// Out of the program's range and back, `range(0)` pages at a time; time for each page of one way.
void move_pages(benchmark::State& state) {
  constexpr std::uint64_t kPages = 1024;
  HeapMemory memory;
  os::LinuxMmu mmu;
  if (!mmu.init({.frame_count = kPages}) || !mmu.activate(memory)) {
    state.SkipWithError("userfaultfd is not allowed here");
    return;
  }
  void* start =
      mmap(nullptr, kPages * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(start, kPages * kPageBytes, MADV_NOHUGEPAGE);
  std::memset(start, 1, kPages * kPageBytes);
  PageIndex first = page_of(reinterpret_cast<std::uint64_t>(start));
  COLDPRESS_CHECK(mmu.register_range({first, first + kPages}));
  auto run = static_cast<std::uint32_t>(state.range(0));
  bool capture = state.range(1) == 0;
  auto all = [&](bool out) {
    for (std::uint32_t at = 0; at < kPages;) {
      std::uint32_t rest = run - at % run;  // the kernel may stop in between
      os::MoveResult result = out ? mmu.capture(first + at, {at}, rest) : mmu.install(first + at, {at}, rest);
      at += result.moved;
    }
  };
  for (auto _ : state) {
    if (!capture) {
      state.PauseTiming();
      all(true);
      state.ResumeTiming();
    }
    all(capture);
    if (capture) {
      state.PauseTiming();
      all(false);
      state.ResumeTiming();
    }
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(kPages) * state.iterations());
  mmu.unregister_range({first, first + kPages});
  munmap(start, kPages * kPageBytes);
  mmu.close();
}

constexpr codec::Choice kLz4{codec::Kind::kLz4, 1}, kZstd{codec::Kind::kZstd, 1},
    kFast{codec::Kind::kZstd, -3};
BENCHMARK_CAPTURE(compress, lz4, kLz4);
BENCHMARK_CAPTURE(compress, zstd_1, kZstd);
BENCHMARK_CAPTURE(compress, zstd_minus_3, kFast);
BENCHMARK_CAPTURE(decompress, lz4, kLz4);
BENCHMARK_CAPTURE(decompress, zstd_1, kZstd);
BENCHMARK_CAPTURE(decompress, zstd_minus_3, kFast);
BENCHMARK(pool_replace);
BENCHMARK(pool_load);
BENCHMARK(slot_take_and_free)->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(slot_lock)->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(slot_lock_contended)->ThreadRange(1, 2)->UseRealTime();
BENCHMARK(move_pages)->ArgsProduct({{1, 16, 32}, {0, 1}})->ArgNames({"run", "install"})->UseRealTime();

}  // namespace
}  // namespace coldpress

BENCHMARK_MAIN();
