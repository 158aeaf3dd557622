// Strong types for the units of the engine. Mixing pages, frames, slots and
// bytes does not compile. All are trivially copyable values; none is
// thread-aware.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace coldpress {

inline constexpr unsigned kPageShift = 12;
inline constexpr std::size_t kPageBytes = std::size_t{1} << kPageShift;

// A page of the program's address space: its address divided by the page size.
struct PageIndex {
  std::uint64_t value = 0;
  auto operator<=>(const PageIndex&) const = default;
  constexpr PageIndex operator+(std::uint64_t pages) const { return {value + pages}; }
  constexpr std::uint64_t operator-(PageIndex other) const { return value - other.value; }
  constexpr std::uint64_t address() const { return value << kPageShift; }
};

constexpr PageIndex page_of(std::uint64_t address) { return {address >> kPageShift}; }

// A half-open range of pages.
struct PageRange {
  PageIndex begin;
  PageIndex end;
  constexpr std::uint64_t pages() const { return end.value - begin.value; }
  constexpr bool empty() const { return end <= begin; }
  constexpr bool contains(PageIndex page) const { return begin <= page && page < end; }
  bool operator==(const PageRange&) const = default;
};

// Overlap of two ranges; empty when they are disjoint.
constexpr PageRange intersect(PageRange a, PageRange b) {
  return {a.begin < b.begin ? b.begin : a.begin, a.end < b.end ? a.end : b.end};
}

// A page-sized buffer that the engine owns.
struct FrameId {
  std::uint32_t value = 0;
  auto operator<=>(const FrameId&) const = default;
  constexpr FrameId operator+(std::uint32_t frames) const { return {value + frames}; }
};

// A swap slot: the owner of a page's bytes while the page is not resident.
struct SlotIndex {
  std::uint32_t value = 0;
  auto operator<=>(const SlotIndex&) const = default;
};

constexpr std::uint64_t bytes_to_pages(std::uint64_t bytes) { return (bytes + kPageBytes - 1) >> kPageShift; }

}  // namespace coldpress
