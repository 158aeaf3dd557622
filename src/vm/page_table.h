// The page words of the whole address space: a radix tree of three levels over 36-bit page indexes. Leaves
// (512 words, one page) exist only where a page was ever captured or marked.
//
// Thread safety: find() is lock-free from any thread; ensure() and the words' changes happen under the
// layout mutex. Leaves are never freed while the table lives, so a found word stays valid.
//
// Orders, by pair; marked where they stand:
//   N  a node is linked (release) after its memory is there, zeroed; find() and get() follow links (acquire)
//   E  every change of a word is a release, every get() an acquire: who reads an entry without the layout
//      mutex finds the slot that it names as it was when the entry was written, or later: locked by who
//      wrote it (vm/capture.cc), or with its owner
// Relaxed is what the holder of the layout mutex reads, and what is looked at as a hint only.
#pragma once

#include <cstdint>

#include "base/memory_source.h"
#include "base/units.h"
#include "sync/atomic.h"
#include "vm/page_word.h"

namespace coldpress::vm {

class PageTable {
 public:
  using Word = sync::Atomic<std::uint64_t>;
  static constexpr std::uint64_t kLeafPages = 512;

  [[nodiscard]] bool init(MemorySource& source, std::size_t max_leaves);

  // The word of a page; nullptr when its leaf does not exist (it reads as a native word without hints).
  Word* find(PageIndex page) const { return locate(page, sync::kAcquire); }  // N
  // As find(), but makes the leaf. nullptr when memory has run out.
  Word* ensure(PageIndex page);

  PageWord get(PageIndex page) const { return read(page, sync::kAcquire); }  // N, E

  // As get(), for the holder of the layout mutex: nobody else changes links or words.
  PageWord peek(PageIndex page) const { return read(page, sync::kRelaxed); }

  // The first page that is out of `page` and the `most` after it; `page` when there is none.
  PageIndex next_out(PageIndex page, std::uint32_t most) const;

  // First page of the next existing leaf at or after `page`, below `end`; `end` when there is none.
  PageIndex next_leaf(PageIndex page, PageIndex end) const;
  // The page after this one, which has a leaf, or the first of the next leaf.
  PageIndex next(PageIndex page, PageIndex end) const {
    PageIndex after = page + 1;
    return after.value % kLeafPages == 0 ? next_leaf(after, end) : after;
  }

  std::uint64_t metadata_pages() const { return 1 + middle_end_ * kMiddlePages + leaf_end_; }

 private:
  static constexpr unsigned kLeafBits = 9, kMiddleBits = 13, kRootBits = 14;
  static constexpr std::size_t kMiddleEntries = std::size_t{1} << kMiddleBits;
  static constexpr std::size_t kMiddlePages = kMiddleEntries * 4 / kPageBytes;
  struct Leaf {
    Word words[kLeafPages];
  };
  // Nodes are named by index + 1; 0 is none.
  using Link = sync::Atomic<std::uint32_t>;
  struct Middle {
    Link leaves[kMiddleEntries];
  };

  // `order`: of the links' loads.
  Word* locate(PageIndex page, sync::Order order) const {
    std::uint32_t middle = root_[root_index(page)].load(order);
    if (middle == 0) return nullptr;
    std::uint32_t leaf = middles_[middle - 1].leaves[middle_index(page)].load(order);
    return leaf == 0 ? nullptr : &leaves_[leaf - 1].words[page.value % kLeafPages];
  }
  PageWord read(PageIndex page, sync::Order order) const {
    Word* word = locate(page, order);
    return word == nullptr ? PageWord() : PageWord::from_raw(word->load(order));
  }

  static std::size_t root_index(PageIndex page) { return page.value >> (kLeafBits + kMiddleBits); }
  static std::size_t middle_index(PageIndex page) { return page.value >> kLeafBits & (kMiddleEntries - 1); }

  ReservedArray<Link> root_;
  ReservedArray<Middle> middles_;
  ReservedArray<Leaf> leaves_;
  std::uint32_t middle_end_ = 0;
  std::uint32_t leaf_end_ = 0;
  // Pages with a leaf are from the one up to the other. Wider before the leaf is linked (N).
  sync::Atomic<std::uint64_t> begin_{~std::uint64_t{0}}, end_{0};
};

}  // namespace coldpress::vm
