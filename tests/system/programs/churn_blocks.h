// Blocks of mmapped pages under every call that changes a mapping, each page's expected content
// known.
#pragma once

#include <algorithm>
#include <functional>
#include <vector>

#include "content.h"

namespace coldtest {

struct Page {
  std::uint64_t key = 0;
  bool lazy = false;  // given to MADV_FREE: old content or zeros, until written
};

struct Block {
  Byte* base = nullptr;
  std::vector<Page> pages;
  bool hidden = false;  // PROT_NONE for now
  bool mixed = false;   // perhaps several kernel mappings, which mremap does not take
  std::size_t bytes() const { return pages.size() * kPageSize; }
};

class BlockChurn {
 public:
  BlockChurn(std::size_t budget_pages, std::uint64_t seed) : budget_(budget_pages), rng_(seed) {}
  BlockChurn(const BlockChurn&) = delete;
  BlockChurn& operator=(const BlockChurn&) = delete;
  ~BlockChurn() {
    for (Block& block : blocks_) munmap(block.base, block.bytes());
  }

  void step() {
    if (blocks_.size() < 4 || (used_ < budget_ && rng_.one_in(3))) return map();
    if (used_ > budget_) return unmap_part();
    using Operation = void (BlockChurn::*)();
    static constexpr Operation kOperations[] = {
        &BlockChurn::unmap_part,   &BlockChurn::grow,        &BlockChurn::shrink,
        &BlockChurn::move_fixed,   &BlockChurn::move_over,   &BlockChurn::move_keep_old,
        &BlockChurn::discard,      &BlockChurn::free_lazily, &BlockChurn::map_over,
        &BlockChurn::protect_part, &BlockChurn::hide,        &BlockChurn::rewrite,
        &BlockChurn::rewrite,      &BlockChurn::verify_one,  &BlockChurn::poke_lazy};
    (this->*kOperations[rng_.below(std::size(kOperations))])();
  }

  void verify_all(Digest& digest, std::uint64_t place) {
    for (Block& block : blocks_) {
      show(block);
      for (std::size_t i = 0; i < block.pages.size(); ++i) {
        check(block, i);
        if (!block.pages[i].lazy) digest.add(place++, block.pages[i].key);
      }
    }
  }

 private:
  struct Range {
    std::size_t first;
    std::size_t count;
  };

  static Byte* at(const Block& block, std::size_t page) { return block.base + page * kPageSize; }

  Block& pick() {
    Block& block = blocks_[rng_.below(blocks_.size())];
    show(block);
    return block;
  }

  Range part_of(const Block& block) {
    std::size_t first = rng_.below(block.pages.size());
    return {first, 1 + rng_.below(block.pages.size() - first)};
  }

  void show(Block& block) {
    if (!block.hidden) return;
    require(mprotect(block.base, block.bytes(), PROT_READ | PROT_WRITE) == 0,
            "mprotect back to RW");
    block.hidden = false;
  }

  void check(const Block& block, std::size_t i) {
    const Page& page = block.pages[i];
    if (!page.lazy) return check_page("block", at(block, i), page.key);
    // The kernel may drop the page while this loop reads it, so each word is judged alone.
    const auto* words = reinterpret_cast<const volatile std::uint64_t*>(at(block, i));
    for (unsigned w = 0; w < kWordsPerPage; ++w) {
      std::uint64_t word = words[w];
      if (word != 0 && word != word_of(page.key, w))
        report_page("MADV_FREE", at(block, i), page.key);
    }
  }

  void check_all(Block& block) {
    for (std::size_t i = 0; i < block.pages.size(); ++i) check(block, i);
  }

  void write(Block& block, std::size_t i) {
    block.pages[i] = {rng_.page_key(), false};
    fill_page(at(block, i), block.pages[i].key);
  }

  void zeroed(Block& block, Range range) {
    for (std::size_t i = range.first; i < range.first + range.count; ++i) block.pages[i] = {};
    check(block, range.first + rng_.below(range.count));
  }

  void map() {
    std::size_t count = rng_.one_in(8) ? 1 + rng_.below(1024) : 1 + rng_.below(96);
    Block block{map_pages(count, PROT_READ | PROT_WRITE, rng_.one_in(8) ? MAP_POPULATE : 0),
                std::vector<Page>(count)};
    for (std::size_t i = 0; i < count; ++i) {
      if (!rng_.one_in(10)) write(block, i);
    }
    used_ += count;
    blocks_.push_back(std::move(block));
  }

  void forget(Block& block) {
    used_ -= block.pages.size();
    std::swap(block, blocks_.back());
    blocks_.pop_back();
  }

  // The head, the tail, the middle (leaves two blocks), or all of a block.
  void unmap_part() {
    Block& block = pick();
    Range range = rng_.one_in(2) ? Range{0, block.pages.size()} : part_of(block);
    check(block, range.first);
    require(munmap(at(block, range.first), range.count * kPageSize) == 0, "munmap");
    std::size_t end = range.first + range.count;
    Block tail{at(block, end),
               {block.pages.begin() + static_cast<std::ptrdiff_t>(end), block.pages.end()}};
    tail.mixed = block.mixed;
    used_ -= range.count;
    block.pages.resize(range.first);
    if (block.pages.empty()) forget(block);
    if (!tail.pages.empty()) blocks_.push_back(std::move(tail));
  }

  void remap(Block& block, std::size_t count, int flags, Byte* target) {
    void* base = mremap(block.base, block.bytes(), count * kPageSize, flags, target);
    require(base != MAP_FAILED, "mremap");
    block.base = static_cast<Byte*>(base);
    used_ += count - block.pages.size();
    block.pages.resize(count);
  }

  void grow() {
    Block& block = pick();
    if (block.mixed) return;
    std::size_t old = block.pages.size();
    remap(block, old + 1 + rng_.below(64), MREMAP_MAYMOVE, nullptr);
    for (std::size_t i = old; i < block.pages.size(); ++i) {
      if (rng_.one_in(4)) check(block, i);  // what a mapping grows by reads zero
      if (!rng_.one_in(10)) write(block, i);
    }
  }

  void shrink() {
    Block& block = pick();
    if (block.mixed) return;
    remap(block, 1 + rng_.below(block.pages.size()), 0, nullptr);
  }

  void move_fixed() {
    Block& block = pick();
    if (block.mixed) return;
    std::size_t count = 1 + rng_.below(block.pages.size() + 32);
    Byte* target = map_pages(count, PROT_NONE);
    remap(block, count, MREMAP_MAYMOVE | MREMAP_FIXED, target);
    check(block, rng_.below(count));
  }

  // On top of (the head of) another block, whose pages there are gone.
  void move_over() {
    if (blocks_.size() < 2) return;
    std::size_t from = rng_.below(blocks_.size());
    std::size_t onto = rng_.below(blocks_.size());
    if (from == onto || blocks_[from].mixed) return;
    show(blocks_[from]);
    show(blocks_[onto]);
    std::size_t count = std::min(blocks_[from].pages.size(), blocks_[onto].pages.size());
    remap(blocks_[from], count, MREMAP_MAYMOVE | MREMAP_FIXED, blocks_[onto].base);
    check(blocks_[from], rng_.below(count));
    Block& victim = blocks_[onto];
    victim.base += count * kPageSize;
    victim.pages.erase(victim.pages.begin(),
                       victim.pages.begin() + static_cast<std::ptrdiff_t>(count));
    used_ -= count;
    if (victim.pages.empty()) forget(victim);
  }

  // The content moves, the old mapping stays and reads zero.
  void move_keep_old() {
    Block& block = pick();
    if (block.mixed) return;
    void* target = mremap(block.base, block.bytes(), block.bytes(),
                          MREMAP_MAYMOVE | MREMAP_DONTUNMAP, nullptr);
    require(target != MAP_FAILED, "mremap DONTUNMAP");
    Block old{block.base, std::vector<Page>(block.pages.size())};
    block.base = static_cast<Byte*>(target);
    check(block, rng_.below(block.pages.size()));
    check_all(old);
    for (std::size_t i = 0; i < old.pages.size(); i += 3) write(old, i);
    used_ += old.pages.size();
    blocks_.push_back(std::move(old));
  }

  void discard() {
    Block& block = pick();
    Range range = part_of(block);
    require(madvise(at(block, range.first), range.count * kPageSize, MADV_DONTNEED) == 0,
            "MADV_DONTNEED");
    zeroed(block, range);
  }

  void free_lazily() {
    Block& block = pick();
    Range range = part_of(block);
    require(madvise(at(block, range.first), range.count * kPageSize, MADV_FREE) == 0, "MADV_FREE");
    for (std::size_t i = range.first; i < range.first + range.count; ++i)
      block.pages[i].lazy = true;
  }

  // A write takes a page back from MADV_FREE: what it finds then, old or zero, must stay.
  void poke_lazy() {
    Block& block = pick();
    for (std::size_t i = 0; i < block.pages.size(); ++i) {
      if (!block.pages[i].lazy) continue;
      auto* words = reinterpret_cast<volatile std::uint64_t*>(at(block, i));
      words[0] = ~word_of(block.pages[i].key, 0);
      bool dropped = words[1] == 0;
      for (unsigned w = 1; w < kWordsPerPage; ++w) {
        if (words[w] != (dropped ? 0 : word_of(block.pages[i].key, w))) {
          report_page("MADV_FREE, then written", at(block, i), dropped ? 0 : block.pages[i].key);
        }
      }
      write(block, i);
    }
  }

  void map_over() {
    Block& block = pick();
    Range range = part_of(block);
    void* base = mmap(at(block, range.first), range.count * kPageSize, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    require(base == at(block, range.first), "mmap MAP_FIXED");
    block.mixed = range.count < block.pages.size();
    zeroed(block, range);
  }

  void protect_part() {
    Block& block = pick();
    Range range = part_of(block);
    void* start = at(block, range.first);
    if (rng_.one_in(2))
      require(mprotect(start, range.count * kPageSize, PROT_NONE) == 0, "mprotect NONE");
    require(mprotect(start, range.count * kPageSize, PROT_READ) == 0, "mprotect READ");
    check_all(block);
    require(mprotect(start, range.count * kPageSize, PROT_READ | PROT_WRITE) == 0, "mprotect RW");
    write(block, range.first);
  }

  void hide() {
    Block& block = pick();
    require(mprotect(block.base, block.bytes(), PROT_NONE) == 0, "mprotect NONE");
    block.hidden = true;
  }

  void rewrite() {
    Block& block = pick();
    for (std::size_t i = 0; i < block.pages.size(); ++i) {
      if (!rng_.one_in(3)) continue;
      check(block, i);
      write(block, i);
    }
  }

  void verify_one() { check_all(pick()); }

  std::size_t budget_;
  std::size_t used_ = 0;
  Rng rng_;
  std::vector<Block> blocks_;
};

}  // namespace coldtest
