// The packed words, page word and slot word: whatever goes in comes out, and no field runs into another.
#include "fuzz/fuzz_input.h"
#include "support/heap_memory.h"
#include "swap/slot_table.h"
#include "vm/page_word.h"

namespace {

using coldpress::fuzz::Reader;
using coldpress::fuzz::require;
using coldpress::swap::Entry;
using coldpress::swap::SlotTable;
using coldpress::swap::SlotWord;
using coldpress::swap::State;
using coldpress::vm::PageWord;

std::uint32_t number(Reader& input) {
  std::uint32_t low = input.word();
  return low | std::uint32_t{input.word()} << 16;
}

void page_words(Reader& input) {
  Entry entry{{number(input)}, input.word()};
  unsigned backoff = input.byte() % (PageWord::kMaxBackoff + 1),
           skip = input.byte() % (PageWord::kMaxSkip + 1);
  std::uint32_t shadow = input.word();
  PageWord out = PageWord::entry(entry, backoff, shadow);
  require(out.is_entry() && !out.is_zapped() && !out.is_poisoned(), "an entry is an entry");
  require(out.entry() == entry && out.backoff() == backoff, "an entry keeps its slot and its back-off");
  require(out.shadow() == (shadow & PageWord::kShadowMask), "an entry keeps its shadow");
  PageWord native = PageWord::native(backoff, skip);
  require(!native.is_entry() && !native.is_zapped() && !native.is_poisoned(), "native is native");
  require(native.backoff() == backoff && native.skip() == skip, "native keeps its hints");
  std::uint32_t mark = number(input);
  unsigned payer = input.byte();
  PageWord loading = PageWord::loading(mark);
  require(loading.is_loading() && loading.is_out() && !loading.is_entry(), "loading is loading");
  require(!loading.is_zapped() && !loading.is_poisoned() && loading.mark() == mark, "loading keeps its mark");
  for (PageWord word : {native, loading, PageWord::zapped(), PageWord::poisoned()}) {
    PageWord paid = word.paid_by(payer);
    require(paid.payer() == payer && paid.paid_by(word.payer()) == word, "a payer is that, and no more");
    require(paid.is_loading() == word.is_loading() && paid.mark() == word.mark(), "a payer changes no mark");
    require(paid.is_zapped() == word.is_zapped() && paid.is_poisoned() == word.is_poisoned(), "nor a kind");
    require(paid.backoff() == word.backoff() && paid.skip() == word.skip(), "nor hints");
  }
}

// Counts go up and down past what a word has room for, and change nothing else of it.
void shares(Reader& input, SlotTable& table, Entry entry, SlotWord before) {
  std::uint32_t count = 1;
  SlotWord word{};
  for (unsigned turns = input.byte() % 4; turns > 0; --turns) {
    bool up = input.byte() % 3 != 0;
    std::uint32_t by = input.word() % 2500;
    for (; by > 0 && (up || count > 1); --by) {
      require(table.lock(entry, word), "a shared slot can be locked");
      require((word.count == 1) == (count == 1), "one is one");
      if (up) {
        require(table.share(entry), "there is room for its count");
        table.unlock(entry);
        ++count;
      } else {
        require(word.count > 1, "several are several");
        table.unlock_unshare(entry);
        --count;
      }
    }
    require(table.shares() == table.in_use() + count - 1, "the counts are the names");
  }
  require(table.lock(entry, word), "a shared slot can be locked");
  require(word.state == before.state && word.payload == before.payload, "it has the owner that it had");
  require(word.generation == before.generation && (word.count > 1) == (count > 1), "and the name");
  table.unlock(entry);
  for (; count > 1; --count) {
    require(table.lock(entry, word) && word.count > 1, "several are several");
    table.unlock_unshare(entry);
  }
}

// Every change of a slot, each seen back as it was made; a freed one is not found by its old name.
void slot_words(Reader& input) {
  coldpress::testing::HeapMemory memory;
  SlotTable table;
  require(table.init(memory, 1 << 14), "there is address space");
  constexpr State kStates[] = {State::kSame, State::kFrame, State::kZswap, State::kDevice, State::kLost};
  while (!input.empty()) {
    Entry entry;
    std::uint32_t payload = number(input);
    if (table.in_use() == 63 || table.allocate({&entry, 1}, {payload}) == 0) return;
    SlotWord word{};
    require(table.try_lock(entry, word) == SlotTable::TryLock::kBusy, "a new slot is locked");
    table.unlock(entry);
    State state = State::kFrame;
    for (unsigned changes = input.byte() % 8; changes > 0; --changes) {
      require(table.lock(entry, word), "a live slot can be locked");
      require(word.state == state && word.payload == payload, "a slot keeps its owner");
      require(word.generation == entry.generation && word.count == 1, "a slot keeps its name");
      state = kStates[input.byte() % 5];
      payload = number(input);
      table.unlock(entry, state, payload);
    }
    if (input.byte() % 8 == 0) shares(input, table, entry, {state, 1, entry.generation, payload});
    if (input.byte() % 4 == 0) continue;  // stays
    require(table.lock(entry, word), "a live slot can be locked");
    table.unlock_and_free(entry);
    require(table.try_lock(entry, word) == SlotTable::TryLock::kStale, "a freed slot has another name");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader input(data, size);
  for (int i = 0; i < 4; ++i) page_words(input);
  slot_words(input);
  return 0;
}
