// The page word: 8 bytes for each page of a registered range.
//
// kNative: the kernel's page table is the truth; the page is resident or was never touched. Hints ride along:
//   skip     passes of the reclaim hand that leave the page alone
//   backoff  how often lately it came back too soon; skip is 2^backoff - 1 after the next return
//   zapped   the program gave the content up (MADV_DONTNEED was announced): the page must not be captured
//            before it was filled again, because the kernel may not have dropped the old content yet
//   poisoned its bytes were lost; the kernel delivers SIGBUS
//   payer    where usage is counted: the account that is charged for the page in memory, plus one; 0: none is
// kEntry: the page is out; slot and generation name the owner of its bytes, `shadow` when it left.
// kLoading: the page is out, and its bytes are being read; the mark keeps the entry (vm/load_marks.h).
//
// A plain value; the words themselves are atomics in PageTable, changed under the layout mutex only.
#pragma once

#include <algorithm>
#include <cstdint>

#include "swap/slot_table.h"

namespace coldpress::vm {

class PageWord {
 public:
  static constexpr unsigned kMaxBackoff = 7;
  static constexpr unsigned kMaxSkip = 255;
  static constexpr std::uint32_t kShadowMask = 0x7ff;

  constexpr PageWord() = default;
  static constexpr PageWord from_raw(std::uint64_t raw) { return PageWord(raw); }
  static constexpr PageWord native(unsigned backoff, unsigned skip) {
    return PageWord(std::uint64_t{backoff} << 2 | std::uint64_t{skip} << 8);
  }
  constexpr PageWord paid_by(unsigned payer) const {
    return PageWord((raw_ & ~kPayerMask) | std::uint64_t{payer} << kPayerShift);
  }
  static constexpr PageWord entry(swap::Entry entry, unsigned backoff, std::uint32_t shadow) {
    return PageWord(kEntryKind | std::uint64_t{backoff} << 2 | std::uint64_t{shadow & kShadowMask} << 5 |
                    std::uint64_t{entry.generation} << 16 | std::uint64_t{entry.slot.value} << 32);
  }
  static constexpr PageWord loading(std::uint32_t mark) {
    return PageWord(kLoadingKind | std::uint64_t{mark} << 32);
  }
  static constexpr PageWord zapped() { return PageWord(kZapped); }
  static constexpr PageWord poisoned() { return PageWord(kPoisoned); }

  constexpr std::uint64_t raw() const { return raw_; }
  constexpr bool is_entry() const { return (raw_ & 3) == kEntryKind; }
  constexpr bool is_loading() const { return (raw_ & 3) == kLoadingKind; }
  constexpr bool is_out() const { return (raw_ & 3) != 0; }
  constexpr std::uint32_t mark() const { return static_cast<std::uint32_t>(raw_ >> 32); }
  constexpr bool is_zapped() const { return !is_entry() && (raw_ & kZapped) != 0; }
  constexpr bool is_poisoned() const { return !is_entry() && (raw_ & kPoisoned) != 0; }
  constexpr unsigned backoff() const { return raw_ >> 2 & 7; }
  constexpr unsigned skip() const { return raw_ >> 8 & 0xff; }
  constexpr unsigned payer() const { return is_entry() ? 0 : raw_ >> kPayerShift & 0xff; }
  constexpr std::uint32_t shadow() const { return raw_ >> 5 & kShadowMask; }
  constexpr swap::Entry entry() const {
    return {{static_cast<std::uint32_t>(raw_ >> 32)}, static_cast<std::uint16_t>(raw_ >> 16)};
  }
  bool operator==(const PageWord&) const = default;

 private:
  static constexpr std::uint64_t kEntryKind = 1, kLoadingKind = 2, kZapped = 1 << 5, kPoisoned = 1 << 6;
  static constexpr unsigned kPayerShift = 16;
  static constexpr std::uint64_t kPayerMask = std::uint64_t{0xff} << kPayerShift;
  explicit constexpr PageWord(std::uint64_t raw) : raw_(raw) {}
  std::uint64_t raw_ = 0;
};

// A page that came back too soon: leave it alone for longer each time.
constexpr PageWord activated(unsigned backoff) {
  unsigned next = std::min(backoff + 1, PageWord::kMaxBackoff);
  return PageWord::native(next, (1u << next) - 1);
}

}  // namespace coldpress::vm
