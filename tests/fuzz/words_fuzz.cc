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
}

// Every change of a slot, each seen back as it was made; a freed one is not found by its old name.
void slot_words(Reader& input) {
  coldpress::testing::HeapMemory memory;
  SlotTable table;
  require(table.init(memory, 64), "there is address space");
  constexpr State kStates[] = {State::kSame, State::kFrame, State::kZswap, State::kDevice};
  while (!input.empty()) {
    Entry entry;
    std::uint32_t payload = number(input);
    if (table.allocate({&entry, 1}, {payload}) == 0) return;
    SlotWord word{};
    require(table.try_lock(entry, word) == SlotTable::TryLock::kBusy, "a new slot is locked");
    table.unlock(entry);
    State state = State::kFrame;
    for (unsigned changes = input.byte() % 8; changes > 0; --changes) {
      require(table.lock(entry, word), "a live slot can be locked");
      require(word.state == state && word.payload == payload, "a slot keeps its owner");
      require(word.generation == entry.generation && word.count == 1, "a slot keeps its name");
      state = kStates[input.byte() % 4];
      payload = number(input);
      table.unlock(entry, state, payload);
    }
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
