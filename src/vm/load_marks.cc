#include "vm/load_marks.h"

#include "base/check.h"
#include "sync/explore.h"
#include "sync/futex.h"

namespace coldpress::vm {

std::uint32_t LoadMarks::put(PageIndex page, PageWord entry) {
  if (in_use_ == kMarks - 1) return kNone;
  auto after = [](std::uint32_t mark) { return mark % (kMarks - 1) + 1; };
  while (marks_[next_].fate != Fate::kFree) next_ = after(next_);
  std::uint32_t mark = next_;
  next_ = after(next_);
  marks_[mark].entry = entry;
  marks_[mark].page = page;
  marks_[mark].fate = Fate::kStayed;
  ++in_use_;
  return mark;
}

void LoadMarks::leave(std::uint32_t mark, Fate fate) {
  COLDPRESS_CHECK(marks_[mark].fate == Fate::kStayed);
  marks_[mark].fate = fate;
  wake(marks_[mark]);  // nothing keeps them from the page that is there now
}

PageWord LoadMarks::take(std::uint32_t mark) {
  leave(mark, Fate::kTaken);
  return marks_[mark].entry;
}

void LoadMarks::wake(Mark& mark) {
  std::uint32_t turn = mark.turn.load(sync::kRelaxed);
  mark.turn.store((turn & ~kWaiters) + kTurn, sync::kRelease);  // T
  bool waiters = (turn & kWaiters) != 0 && !sync::is_mutant(sync::Mutant::kMarkWakesNobody);
  if (waiters) sync::futex_wake(&mark.turn, 1 << 30);
}

LoadMarks::Fate LoadMarks::take_off(std::uint32_t mark) {
  Mark& m = marks_[mark];
  Fate fate = m.fate;
  COLDPRESS_CHECK(fate != Fate::kFree);
  m.fate = Fate::kFree;
  --in_use_;
  wake(m);
  return fate;
}

std::uint32_t LoadMarks::ticket(std::uint32_t mark) {
  sync::Atomic<std::uint32_t>& turn = marks_[mark].turn;
  std::uint32_t ticket = turn.load(sync::kRelaxed) | kWaiters;
  turn.store(ticket, sync::kRelaxed);
  return ticket;
}

void LoadMarks::wait(std::uint32_t mark, std::uint32_t ticket) const {
  const sync::Atomic<std::uint32_t>& turn = marks_[mark].turn;
  while (turn.load(sync::kAcquire) == ticket) sync::futex_wait(&turn, ticket);  // T
}

}  // namespace coldpress::vm
