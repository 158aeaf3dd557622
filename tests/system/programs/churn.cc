// Proves that memory keeps its content, and gets zeros where it should, under every call by which a
// program changes its memory: mmap, munmap, mremap, madvise, mprotect, MAP_FIXED, sbrk, malloc and
// its kin, and deep stacks; from several threads, with more memory than the limit.
//
//   churn MIB [SEED [STEPS]]
#include <atomic>
#include <semaphore>
#include <thread>

#include "churn_blocks.h"

namespace coldtest {
namespace {

constexpr unsigned kThreads = 4;
constexpr unsigned kStackFrames = 24;
constexpr std::size_t kFrameBytes = 64 * 1024;

// malloc and its kin; sizes from one byte to what malloc maps on its own.
class HeapChurn {
 public:
  HeapChurn(std::size_t budget, std::uint64_t seed) : budget_(budget), rng_(seed), slots_(512) {}
  HeapChurn(const HeapChurn&) = delete;
  HeapChurn& operator=(const HeapChurn&) = delete;
  ~HeapChurn() {
    for (Slot& slot : slots_) std::free(slot.bytes);
  }

  void step() {
    Slot& slot = slots_[rng_.below(slots_.size())];
    check(slot);
    if (used_ > budget_) return release(slot);
    switch (rng_.below(5)) {
      case 0:
        return release(slot);
      case 1:
        return take(slot, random_size(), Way::kMalloc);
      case 2:
        return take(slot, random_size(), Way::kCalloc);
      case 3:
        return take(slot, random_size(), Way::kAligned);
      default:
        return resize(slot, random_size());
    }
  }

  void verify_all(Digest& digest, std::uint64_t place) {
    for (Slot& slot : slots_) {
      check(slot);
      digest.add(place++, slot.key ^ slot.size);
    }
  }

 private:
  enum class Way { kMalloc, kCalloc, kAligned };
  struct Slot {
    Byte* bytes = nullptr;
    std::size_t size = 0;
    std::uint64_t key = 0;
  };

  std::size_t random_size() {
    std::size_t scale = std::size_t{1} << rng_.below(20);
    return scale + rng_.below(scale);
  }

  static void check(const Slot& slot) {
    if (slot.bytes != nullptr) check_bytes("heap", slot.bytes, slot.size, slot.key);
  }

  void release(Slot& slot) {
    std::free(slot.bytes);
    used_ -= slot.size;
    slot = {};
  }

  void take(Slot& slot, std::size_t size, Way way) {
    release(slot);
    void* bytes = nullptr;
    if (way == Way::kMalloc) bytes = std::malloc(size);
    if (way == Way::kCalloc) bytes = std::calloc(1, size);
    if (way == Way::kAligned && posix_memalign(&bytes, kPageSize, size) != 0) bytes = nullptr;
    require(bytes != nullptr, "allocation");
    if (way == Way::kCalloc) check_bytes("calloc", bytes, size, 0);
    own(slot, bytes, size);
  }

  void resize(Slot& slot, std::size_t size) {
    std::size_t kept = std::min(size, slot.size);
    used_ -= slot.size;
    void* bytes = std::realloc(slot.bytes, size);
    require(bytes != nullptr, "realloc");
    check_bytes("realloc", bytes, kept, slot.key);
    own(slot, bytes, size);
  }

  void own(Slot& slot, void* bytes, std::size_t size) {
    slot = {static_cast<Byte*>(bytes), size, rng_.page_key()};
    used_ += size;
    fill_bytes(slot.bytes, size, slot.key);
  }

  std::size_t budget_;
  std::size_t used_ = 0;
  Rng rng_;
  std::vector<Slot> slots_;
};

void churn_thread(unsigned index, const Arguments& arguments, unsigned steps, Digest& digest) {
  std::uint64_t seed = arguments.seed * kThreads + index;
  BlockChurn blocks(arguments.pages() / kThreads * 3 / 4, seed);
  HeapChurn heap(arguments.bytes / kThreads / 4, ~seed);
  for (unsigned i = 0; i < steps; ++i) {
    blocks.step();
    heap.step();
  }
  blocks.verify_all(digest, std::uint64_t{index} << 32);
  heap.verify_all(digest, std::uint64_t{index} << 32 | 1U << 31);
}

// Frames that get cold while their thread sleeps at the bottom.
[[gnu::noinline]] void deep_frame(unsigned depth, std::uint64_t seed, std::binary_semaphore& done) {
  Byte frame[kFrameBytes];
  std::uint64_t key = mix(seed + depth) | 8;
  fill_bytes(frame, sizeof frame, key);
  if (depth == 0) {
    done.acquire();
  } else {
    deep_frame(depth - 1, seed, done);
  }
  check_bytes("stack", frame, sizeof frame, key);
}

// Moves the program break up and down. The caller may not touch malloc meanwhile, nor may other
// threads take memory from the main arena; they have arenas of their own.
void churn_break(std::uint64_t seed, const std::atomic<unsigned>& running) {
  static std::uint64_t keys[4096];
  Rng rng(seed);
  auto start = reinterpret_cast<std::uintptr_t>(sbrk(0));
  require(sbrk(static_cast<std::intptr_t>(-start % kPageSize)) != reinterpret_cast<void*>(-1), "sbrk");
  auto* base = static_cast<Byte*>(sbrk(0));
  std::size_t pages = 0;
  while (running > 0) {
    std::size_t wanted = rng.below(std::size(keys));
    auto change = (static_cast<std::intptr_t>(wanted) - static_cast<std::intptr_t>(pages)) * 4096;
    for (std::size_t i = 0; i < pages; i += 5) check_page("break", base + i * kPageSize, keys[i]);
    require(sbrk(change) != reinterpret_cast<void*>(-1), "sbrk");
    for (std::size_t i = pages; i < wanted; ++i) {
      if (i % 3 == 0) check_page("new break", base + i * kPageSize, 0);
      fill_page(base + i * kPageSize, keys[i] = rng.page_key());
    }
    pages = wanted;
    usleep(20000);
  }
  for (std::size_t i = 0; i < pages; ++i) check_page("break at the end", base + i * kPageSize, keys[i]);
  require(sbrk(-static_cast<std::intptr_t>(pages * kPageSize)) != reinterpret_cast<void*>(-1), "sbrk");
}

int run(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  unsigned steps = argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 2500;
  std::vector<Digest> digests(kThreads);
  std::vector<std::thread> threads;
  std::atomic<unsigned> running{kThreads};
  std::binary_semaphore done{0};
  std::thread sleeper([&] { deep_frame(kStackFrames, arguments.seed, done); });
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      churn_thread(i, arguments, steps, digests[i]);
      --running;
    });
  }
  churn_break(arguments.seed, running);
  for (std::thread& thread : threads) thread.join();
  done.release();
  sleeper.join();
  Digest digest;
  for (const Digest& part : digests) digest.add(part);
  print_digest("churn", arguments, digest);
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) { return coldtest::run(argc, argv); }
