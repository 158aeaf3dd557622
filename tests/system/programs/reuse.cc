// Proves that nothing of an evicted page survives at its address: while one thread takes cold pages
// away (munmap, mremap, MAP_FIXED, MADV_DONTNEED), another takes the same addresses anew or writes
// the neighbours. New pages read zero, what is written stays, through idleness and pressure.
//
//   reuse MIB [SEED [ROUNDS]]
#include <barrier>
#include <deque>

#include "pressure.h"

namespace coldtest {
namespace {

constexpr unsigned kPairs = 8;
constexpr std::size_t kBlockPages = 256;

enum class Act { kUnmap, kMove, kMapOver, kDiscardNeighbours, kDiscardSame };
constexpr unsigned kActs = 5;

// Two threads and one block: `remove` and `claim` run at the same time.
class Pair {
 public:
  Pair(unsigned index, std::uint64_t seed, unsigned rounds, const BackgroundHog& hog)
      : rounds_(rounds),
        hog_(hog),
        rng_(seed * kPairs + index),
        base_(map_pages(kBlockPages)),
        aside_(map_pages(kBlockPages, PROT_NONE)) {
    write_anew(0, kBlockPages);
    remover_ = std::thread([this] { remove_in_rounds(); });
    claimer_ = std::thread([this] { claim_in_rounds(); });
  }

  void join() {
    remover_.join();
    claimer_.join();
  }

  void verify_all(Digest& digest, std::uint64_t place) {
    for (std::size_t i = 0; i < kBlockPages; ++i) {
      check_page("at the end", at(i), keys_[i]);
      digest.add(place + i, keys_[i]);
    }
  }

  unsigned claims() const { return claims_; }
  unsigned lost_claims() const { return lost_claims_; }

 private:
  Byte* at(std::size_t page) const { return base_ + page * kPageSize; }

  void write_anew(std::size_t first, std::size_t end, std::size_t step = 1) {
    for (std::size_t i = first; i < end; i += step) fill_page(at(i), keys_[i] = rng_.page_key());
  }

  void wait_until_cold() const {
    unsigned start = hog_.sweeps();
    while (hog_.sweeps() < start + 2) usleep(1000);
  }

  void remove_in_rounds() {
    for (unsigned round = 0; round < rounds_; ++round) {
      wait_until_cold();
      for (std::size_t i = round % 2; i < kBlockPages; i += 2) check_page("after idleness", at(i), keys_[i]);
      if (rng_.one_in(2)) wait_until_cold();
      act_ = static_cast<Act>((round + rng_.below(2)) % kActs);
      first_ = rng_.below(kBlockPages - 1);
      count_ = 1 + rng_.below(kBlockPages - first_);
      old_keys_ = keys_;
      removed_ = false;
      turn_.arrive_and_wait();
      remove();
      removed_ = true;
      turn_.arrive_and_wait();
      if (act_ == Act::kMove) put_aside_away();
    }
  }

  void claim_in_rounds() {
    for (unsigned round = 0; round < rounds_; ++round) {
      turn_.arrive_and_wait();
      claim();
      turn_.arrive_and_wait();
    }
  }

  void remove() {
    void* start = at(first_);
    std::size_t bytes = count_ * kPageSize;
    switch (act_) {
      case Act::kUnmap:
        return require(munmap(start, bytes) == 0, "munmap");
      case Act::kMove:
        return require(mremap(start, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, aside_) == aside_,
                       "mremap");
      case Act::kMapOver:
        return require(mmap(start, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                            0) == start,
                       "mmap MAP_FIXED");
      case Act::kDiscardNeighbours:
        for (std::size_t i = 0; i < kBlockPages; i += 2) {
          require(madvise(at(i), kPageSize, MADV_DONTNEED) == 0, "MADV_DONTNEED");
        }
        return;
      case Act::kDiscardSame:
        return require(madvise(start, bytes, MADV_DONTNEED) == 0, "MADV_DONTNEED");
    }
  }

  void claim() {
    switch (act_) {
      case Act::kUnmap:
      case Act::kMove:
        return claim_addresses();
      case Act::kMapOver:
        return read_while_replaced();
      case Act::kDiscardNeighbours:
        return write_neighbours();
      case Act::kDiscardSame:
        return write_while_discarded();
    }
  }

  // Takes the addresses the moment they are free, unless something else in the process was quicker.
  void claim_addresses() {
    for (;;) {
      bool was_removed = removed_;
      void* base = mmap(at(first_), count_ * kPageSize, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
      if (base == at(first_)) break;
      require(base == MAP_FAILED && errno == EEXIST, "mmap MAP_FIXED_NOREPLACE");
      if (was_removed) return move_elsewhere();
    }
    ++claims_;
    for (std::size_t i = first_; i < first_ + count_; i += 2) check_page("fresh mapping", at(i), 0);
    write_anew(first_, first_ + count_);
    for (std::size_t i = first_; i < first_ + count_; ++i) check_page("claimed page", at(i), keys_[i]);
  }

  void move_elsewhere() {
    ++lost_claims_;
    if (first_ > 0) munmap(base_, first_ * kPageSize);
    if (first_ + count_ < kBlockPages)
      munmap(at(first_ + count_), (kBlockPages - first_ - count_) * kPageSize);
    base_ = map_pages(kBlockPages);
    for (std::size_t i = 0; i < kBlockPages; ++i) fill_page(at(i), keys_[i]);
    write_anew(first_, first_ + count_);
  }

  // A reader sees what was there or zeros, nothing else.
  void read_while_replaced() {
    for (unsigned pass = 0; pass < 2; ++pass) {
      for (std::size_t i = first_; i < first_ + count_; ++i) {
        const auto* words = reinterpret_cast<const volatile std::uint64_t*>(at(i));
        for (unsigned w = 0; w < kWordsPerPage; w += 8) {
          std::uint64_t word = words[w];
          if (word != 0 && word != word_of(keys_[i], w)) report_page("read while replaced", at(i), keys_[i]);
        }
      }
    }
    while (!removed_) sched_yield();
    for (std::size_t i = first_; i < first_ + count_; ++i) check_page("replaced mapping", at(i), 0);
    write_anew(first_, first_ + count_);
  }

  void write_neighbours() {
    write_anew(1, kBlockPages, 2);
    while (!removed_) sched_yield();
    for (std::size_t i = 0; i < kBlockPages; i += 2) check_page("discarded page", at(i), keys_[i] = 0);
    for (std::size_t i = 1; i < kBlockPages; i += 2) check_page("neighbour", at(i), keys_[i]);
  }

  // The write comes before or after the discard: the old words are gone in either case.
  void write_while_discarded() {
    constexpr unsigned kWritten = 7;
    for (std::size_t i = first_; i < first_ + count_; ++i) {
      reinterpret_cast<volatile std::uint64_t*>(at(i))[kWritten] = i + 1;
    }
    while (!removed_) sched_yield();
    for (std::size_t i = first_; i < first_ + count_; ++i) {
      auto* words = reinterpret_cast<volatile std::uint64_t*>(at(i));
      if (words[kWritten] == i + 1) words[kWritten] = 0;
      check_page("discarded and written page", at(i), 0);
    }
    write_anew(first_, first_ + count_);
  }

  // What moved away kept its content; the reserved place for the next move is made anew.
  void put_aside_away() {
    for (std::size_t i = 0; i < count_; ++i)
      check_page("moved page", aside_ + i * kPageSize, old_keys_[first_ + i]);
    void* again = mmap(aside_, count_ * kPageSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    require(again == aside_, "mmap PROT_NONE");
  }

  unsigned rounds_;
  const BackgroundHog& hog_;
  Rng rng_;
  Byte* base_;
  Byte* aside_;
  std::vector<std::uint64_t> keys_ = std::vector<std::uint64_t>(kBlockPages);
  std::vector<std::uint64_t> old_keys_;
  Act act_{};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  std::atomic<bool> removed_{false};
  std::barrier<> turn_{2};
  unsigned claims_ = 0;
  unsigned lost_claims_ = 0;
  std::thread remover_;
  std::thread claimer_;
};

int run(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  unsigned rounds = argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 8;
  BackgroundHog hog(arguments.pages() - kPairs * kBlockPages, arguments.seed);
  std::deque<Pair> pairs;
  for (unsigned i = 0; i < kPairs; ++i) pairs.emplace_back(i, arguments.seed, rounds, hog);
  Digest digest;
  unsigned claims = 0;
  unsigned lost_claims = 0;
  for (unsigned i = 0; i < kPairs; ++i) {
    pairs[i].join();
    pairs[i].verify_all(digest, i * kBlockPages);
    claims += pairs[i].claims();
    lost_claims += pairs[i].lost_claims();
  }
  std::printf("claimed %u freed ranges, lost %u to others\n", claims, lost_claims);
  if (claims <= lost_claims) die("FAILED: too few freed ranges could be claimed to prove anything");
  print_digest("reuse", arguments, digest);
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) { return coldtest::run(argc, argv); }
