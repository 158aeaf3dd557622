#include "vm/page_table.h"

#include <algorithm>

#include "sync/explore.h"

namespace coldpress::vm {

bool PageTable::init(MemorySource& source, std::size_t max_leaves) {
  constexpr std::size_t kRootEntries = std::size_t{1} << kRootBits;
  middle_end_ = leaf_end_ = 0;
  begin_.store(~std::uint64_t{0}, sync::kRelaxed);
  end_.store(0, sync::kRelaxed);
  if (!root_.init(source, kRootEntries) || !root_.grow_to(kRootEntries)) return false;
  sync::name_each(root_.data(), kRootEntries, "root link");
  return middles_.init(source, kRootEntries) && leaves_.init(source, max_leaves);
}

PageTable::Word* PageTable::ensure(PageIndex page) {
  Link& middle_link = root_[root_index(page)];
  if (middle_link.load(sync::kRelaxed) == 0) {
    if (!middles_.grow_to(middle_end_ + 1)) return nullptr;
    middle_link.store(++middle_end_, sync::kRelease);  // N
  }
  Link& leaf_link = middles_[middle_link.load(sync::kRelaxed) - 1].leaves[middle_index(page)];
  if (leaf_link.load(sync::kRelaxed) == 0) {
    if (!leaves_.grow_to(leaf_end_ + 1)) return nullptr;
    sync::name_object(leaf_link, "leaf link");
    sync::name_each(leaves_[leaf_end_].words, kLeafPages, "page", page.value / kLeafPages * kLeafPages);
    std::uint64_t begin = page.value / kLeafPages * kLeafPages, end = begin + kLeafPages;
    begin_.store(std::min(begin_.load(sync::kRelaxed), begin), sync::kRelaxed);
    end_.store(std::max(end_.load(sync::kRelaxed), end), sync::kRelaxed);
    leaf_link.store(++leaf_end_, sync::kRelease);  // N: with its bounds
  }
  return &leaves_[leaf_link.load(sync::kRelaxed) - 1].words[page.value % kLeafPages];
}

PageIndex PageTable::next_out(PageIndex page, std::uint32_t most) const {
  const Word* word = find(page);
  for (std::uint64_t i = 0; word != nullptr && i <= most; ++i) {
    if (PageWord::from_raw(word->load(sync::kRelaxed)).is_out()) return page + i;  // a hint
    word = (page + i + 1).value % kLeafPages == 0 ? find(page + i + 1) : word + 1;
  }
  return page;
}

// Relaxed: it only tells that a leaf is there; who goes on to its words acquires it by find().
PageIndex PageTable::next_leaf(PageIndex page, PageIndex end) const {
  PageIndex at{std::max(page.value / kLeafPages * kLeafPages, begin_.load(sync::kRelaxed))};
  PageIndex last{std::min(end.value, end_.load(sync::kRelaxed))};
  while (at < last) {
    std::uint32_t middle = root_[root_index(at)].load(sync::kRelaxed);
    if (middle == 0) {
      at.value = (root_index(at) + 1) << (kLeafBits + kMiddleBits);
      continue;
    }
    if (middles_[middle - 1].leaves[middle_index(at)].load(sync::kRelaxed) != 0) {
      return at < page ? page : at;
    }
    at.value += kLeafPages;
  }
  return end;
}

}  // namespace coldpress::vm
