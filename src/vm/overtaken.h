// Overtaken: what left its place by a change whose message is still to come, while the message of whoever
// came to that place afterwards has been taken already. layout.cc says why that happens and what follows.
//
// A record is a range that somebody new was moved into although, by the messages so far, it was still in use.
// Its old content had gone: by a munmap, or moved on; one kUnmap for each of its pages is certain to come,
// and before it perhaps one kRemap (`may_move`), to one of the arrivals. The page words that were found are
// kept here meanwhile.
//
// 1. One place may be overtaken several times; records are found oldest first.
// 2. Words and arrivals belong to the records of the same number: those of one move.
//
// Thread safety: none; guarded by the layout mutex. There are few records at any time.
#pragma once

#include <cstdint>

#include "base/memory_source.h"
#include "base/units.h"
#include "vm/page_word.h"

namespace coldpress::vm {

class Overtaken {
 public:
  struct Word {
    PageIndex page;
    PageWord word;
    std::uint32_t number = 0;  // of its record
  };

  [[nodiscard]] bool init(MemorySource& source, std::size_t max_words);

  bool empty() const { return count_ == 0; }
  // A new number for what follows.
  void next_move() { ++last_number_; }
  // What is in use by the kernel's view, and not by the messages so far. false: the table is full.
  [[nodiscard]] bool add_arrival(PageRange range);
  // Opens a record. false: the table is full.
  [[nodiscard]] bool add(PageRange range, bool may_move);
  // A word of the records. false: out of memory.
  [[nodiscard]] bool keep(PageIndex page, PageWord word);

  struct Found {
    bool any = false;
    std::uint32_t number = 0;
    bool may_move = false;
    PageRange range;  // from where it was asked to where the answer ends
  };
  // The oldest record of the first page of `range`, of those with numbers above `after`.
  Found oldest(PageRange range, std::uint32_t after = 0) const;

  bool arrived_then(std::uint32_t number, PageIndex page) const;

  // Its kRemap came: it can not move again.
  void has_moved(std::uint32_t number, PageRange range);
  // Its kUnmap came: the range leaves the record. What is left of its words there must be taken before.
  void close(std::uint32_t number, PageRange range);
  // Hands out the words of a record in a range, which then are the receiver's.
  template <typename Receive>
  void take_words(std::uint32_t number, PageRange range, Receive receive) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < word_count_; ++i) {
      Word word = words_[i];
      if (word.number == number && range.contains(word.page)) {
        receive(word.page, word.word);
      } else {
        words_[kept++] = word;
      }
    }
    word_count_ = kept;
  }
  // Forgets all records. Hands out all words.
  template <typename Receive>
  void clear(Receive receive) {
    for (std::size_t i = 0; i < word_count_; ++i) receive(words_[i].page, words_[i].word);
    word_count_ = arrival_count_ = count_ = 0;
  }
  std::size_t word_count() const { return word_count_; }
  const Word& word(std::size_t index) const { return words_[index]; }

 private:
  struct Record {
    PageRange range;
    std::uint32_t number = 0;
    bool may_move = false;
  };
  struct Arrival {
    PageRange range;
    std::uint32_t number = 0;
  };
  static constexpr std::size_t kMaxRecords = 1 << 17;

  void cut(std::uint32_t number, PageRange range, bool keep_as_moved);

  ReservedArray<Record> records_;
  std::size_t count_ = 0;
  ReservedArray<Arrival> arrivals_;
  std::size_t arrival_count_ = 0;
  ReservedArray<Word> words_;
  std::size_t word_count_ = 0;
  std::uint32_t last_number_ = 0;
};

}  // namespace coldpress::vm
