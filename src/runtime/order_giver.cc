#include "runtime/order_giver.h"

#include <cstring>

#include "os/linux/process.h"
#include "os/linux/syscalls.h"
#include "sync/futex.h"

namespace coldpress::runtime {

Given give_order(ControlPage& page, Order order, std::string_view text, std::uint64_t argument,
                 unsigned timeout_s, const OrderWatch& watch, Text& answer, Told* copy) {
  using Turn = ControlPage::Turn;
  if (text.size() >= sizeof page.text) {
    answer = Text() << "that is too long";
    return Given::kRefused;
  }
  constexpr std::int64_t kLook = 2'000'000, kSecond = 1'000'000'000, kNoticed = 10 * kSecond;
  std::int64_t begun = sync::now_ns();
  Turn mine;
  for (;;) {
    Turn turn = Turn::of(page.turn.load());
    bool orphaned = turn.state != ControlPage::kIdle && !os::process_exists(turn.tool) &&
                    sync::now_ns() - page.alive_ns.load() > kSecond;
    bool running = turn.state == ControlPage::kRunning || turn.state == ControlPage::kCancelled;
    bool left = turn.state == ControlPage::kIdle || (orphaned && !running);
    if (orphaned && turn.state == ControlPage::kRunning) page.pass(turn, turn.in(ControlPage::kCancelled));
    mine = {ControlPage::kTaken, turn.ticket + 1, static_cast<std::uint32_t>(os::sys_getpid())};
    if (left) page.alive_ns.store(sync::now_ns());
    if (left && page.pass(turn, mine)) break;
    if (sync::now_ns() - begun > kNoticed || watch.cancelled()) return Given::kBusy;
    sync::sleep_ns(kLook);
  }
  page.order = order;
  page.argument = argument;
  std::memcpy(page.text, text.data(), text.size());
  page.text[text.size()] = 0;
  page.pass(mine, mine.in(ControlPage::kPosted));
  begun = sync::now_ns();
  for (;;) {
    Turn turn = Turn::of(page.turn.load(sync::kAcquire));
    if (turn.state == ControlPage::kDone && turn.ticket == (mine.ticket & 0xffffff)) break;
    page.alive_ns.store(sync::now_ns());
    if (watch.ended()) return Given::kEnded;
    if (watch.cancelled()) {
      // What runs is told to stop, and answers; what nobody looks at yet is taken back.
      page.pass(mine.in(ControlPage::kRunning), mine.in(ControlPage::kCancelled));
      if (page.pass(mine.in(ControlPage::kPosted), mine.in(ControlPage::kIdle))) return Given::kNoAnswer;
    }
    std::int64_t waited = sync::now_ns() - begun;
    // Nobody looks: taken back, unless it is looked at this very moment.
    if (waited > kNoticed && page.pass(mine.in(ControlPage::kPosted), mine.in(ControlPage::kIdle))) {
      return Given::kNoAnswer;
    }
    if (waited > std::int64_t{timeout_s} * kSecond) return Given::kStillAtIt;
    sync::sleep_ns(kLook);
  }
  bool good = page.good != 0;
  if (good && copy != nullptr) *copy = told(page);
  if (!good) answer = Text() << std::string_view(page.answer, strnlen(page.answer, sizeof page.answer));
  bool ours = page.pass(mine.in(ControlPage::kDone), mine.in(ControlPage::kIdle));
  // Taken for dead, meanwhile: what was copied may be the next one's.
  if (!ours && copy != nullptr) return Given::kBusy;
  return good ? Given::kFollowed : Given::kRefused;
}

}  // namespace coldpress::runtime
