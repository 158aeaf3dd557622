#include "vm/overtaken.h"

#include "base/check.h"

namespace coldpress::vm {

bool Overtaken::init(MemorySource& source, std::size_t max_words) {
  count_ = arrival_count_ = word_count_ = 0;
  // The first step of each at once, as in RegionMap::init().
  return records_.init(source, kMaxRecords) && records_.grow_to(1) && arrivals_.init(source, kMaxRecords) &&
         arrivals_.grow_to(1) && words_.init(source, max_words) && words_.grow_to(1);
}

bool Overtaken::add(PageRange range, bool may_move) {
  if (!records_.grow_to(count_ + 1)) return false;
  records_[count_++] = {range, last_number_, may_move};
  return true;
}

bool Overtaken::add_arrival(PageRange range) {
  if (!arrivals_.grow_to(arrival_count_ + 1)) return false;
  arrivals_[arrival_count_++] = {range, last_number_};
  return true;
}

bool Overtaken::arrived_then(std::uint32_t number, PageIndex page) const {
  for (std::size_t i = 0; i < arrival_count_; ++i) {
    if (arrivals_[i].number == number && arrivals_[i].range.contains(page)) return true;
  }
  return false;
}

bool Overtaken::keep(PageIndex page, PageWord word) {
  if (!words_.grow_to(word_count_ + 1)) return false;
  words_[word_count_++] = {page, word, last_number_};
  return true;
}

Overtaken::Found Overtaken::oldest(PageRange range, std::uint32_t after) const {
  Found found;
  found.range = range;
  for (std::size_t i = 0; i < count_; ++i) {
    const Record& record = records_[i];
    if (record.number <= after || !record.range.contains(range.begin)) continue;
    if (found.any && found.number <= record.number) continue;
    found = {true, record.number, record.may_move, found.range};
  }
  // The answer ends where its record does, or an older one begins; without one, where any begins.
  for (std::size_t i = 0; i < count_; ++i) {
    const Record& record = records_[i];
    if (record.number <= after) continue;
    if (found.any && record.number == found.number && record.range.contains(range.begin)) {
      if (record.range.end < found.range.end) found.range.end = record.range.end;
    } else if (range.begin < record.range.begin && record.range.begin < found.range.end &&
               (!found.any || record.number <= found.number)) {
      found.range.end = record.range.begin;
    }
  }
  return found;
}

void Overtaken::has_moved(std::uint32_t number, PageRange range) { cut(number, range, true); }

void Overtaken::close(std::uint32_t number, PageRange range) { cut(number, range, false); }

void Overtaken::cut(std::uint32_t number, PageRange range, bool keep_as_moved) {
  std::size_t end = count_;  // parts that are split off need no second look
  for (std::size_t i = 0; i < end;) {
    Record old = records_[i];
    PageRange common = intersect(old.range, range);
    if (old.number != number || common.empty()) {
      ++i;
      continue;
    }
    // Out with it; in with what is left.
    records_[i] = records_[--end];
    records_[end] = records_[--count_];
    auto put = [&](PageRange part, bool may_move) {
      if (part.empty()) return;
      COLDPRESS_CHECK(records_.grow_to(count_ + 1));
      records_[count_++] = {part, number, may_move};
    };
    put({old.range.begin, common.begin}, old.may_move);
    put({common.end, old.range.end}, old.may_move);
    if (keep_as_moved) put(common, false);
  }
}

}  // namespace coldpress::vm
