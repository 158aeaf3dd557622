// Children of a fork. While the parent's layout mutex is held, nothing moves, so the parent's metadata say
// exactly what the child's holes contain: the child inherited the page table of the moment of the fork.
//
// Unless other threads change the layout at that moment. Whether a message that comes with the fork's speaks
// of a change before or after it can not be told from the order of the messages (layout.cc). So all of them
// are taken, and put aside, until the kernel says that no change is under way; then the child is filled by
// what its own page table says: a page that was being moved is copied to where it went, or, if nothing is
// registered there in the child, to where it was.
#include <cstring>

#include "codec/page_content.h"
#include "sync/explore.h"
#include "sync/futex.h"
#include "vm/space.h"

namespace coldpress::vm {

using swap::State;
namespace {

bool filled(os::MoveStatus status) {
  return status == os::MoveStatus::kDone || status == os::MoveStatus::kExists;
}

}  // namespace

// Copies the bytes of a page that is out into the worker's page, without changing who owns them. A copy, and
// under the slot's lock: a frame may be compressed and given back as soon as the lock is free.
Loaded Space::read_content(PageWord word, Worker& worker) {
  if (word.is_loading()) sync::mark("fork: what is being read is read for the child");
  swap::Entry entry = (word.is_loading() ? marks_.entry(word.mark()) : word).entry();
  swap::SlotWord slot{};
  COLDPRESS_CHECK(slots_.lock(entry, slot));
  Loaded loaded = Loaded::kGood;
  if (slot.state == State::kFrame) {
    std::memcpy(worker.page, mmu_->frame_data({slot.payload}), kPageBytes);
    if (sync::is_mutant(sync::Mutant::kChildMissesFrame)) codec::fill_page(worker.page, 0);
  } else {
    COLDPRESS_CHECK(slot.state != State::kDevice || worker.devices);
    loaded = load(slot, true, worker, worker.page);
  }
  slots_.unlock(entry);
  count_lost(loaded);
  return loaded;
}

void Space::fork(int child, Worker& worker) {
  COLDPRESS_CHECK(fork_handler_ != nullptr);
  constexpr int kTries = 2000;
  std::size_t first = concurrent_count_;  // a fork within a fork keeps what is put aside already
  bool calm = false;
  for (int waited = 0; waited < kTries && concurrent_count_ < kMaxConcurrent;) {
    os::Message message = mmu_->next_message();
    if (message.kind == os::MessageKind::kFault) {
      worker.put_aside(message.range.begin, message.write);
    } else if (message.kind != os::MessageKind::kNone) {
      concurrent_[concurrent_count_++] = message;
    } else if (!mmu_->changing()) {
      calm = concurrent_count_ == 0;
      break;  // also the forking thread has seen that its message was taken
    } else {
      ++waited;
      sync::sleep_ns(20000);
    }
  }
  fork_handler_->on_fork(child, calm, worker);
  while (first < concurrent_count_) {
    os::Message message = concurrent_[first];
    for (std::size_t i = first + 1; i < concurrent_count_; ++i) concurrent_[i - 1] = concurrent_[i];
    --concurrent_count_;
    process(message, worker);
  }
}

os::MoveStatus Space::fill_child(int child, PageWord word, PageIndex page, Worker& worker) {
  bool lost = word.is_poisoned();
  if (word.is_out()) {
    lost = read_content(word, worker) != Loaded::kGood;
  } else if (!lost) {
    codec::fill_page(worker.page, 0);
  }
  for (;;) {
    // A lost page that was not marked as such would read zero.
    os::MoveStatus status =
        lost ? mmu_->child_poison(child, page) : mmu_->child_copy(child, page, worker.page);
    if (status == os::MoveStatus::kChanging) {
      // It rebuilds its engine's memory, and waits until somebody hears of it.
      mmu_->child_skip_message(child);
    } else if (status != os::MoveStatus::kNoMemory) {
      return status;
    }
    sync::sleep_ns(20000);
  }
}

// Serves a fault of a child that has no engine yet.
void Space::child_fault(int child, PageIndex page, Worker& worker) {
  fill_child(child, table_.peek(page), page, worker);
}

// Fills a page where a move that came with the fork has brought it; `overtaking`: moves to places in use.
bool Space::fill_moved(int child, PageWord word, PageIndex page, Whose whose, bool overtaking,
                       Worker& worker) {
  for (std::size_t i = 0; i < concurrent_count_; ++i) {
    const os::Message& moved = concurrent_[i];
    if (moved.kind != os::MessageKind::kRemap || !moved.range.contains(page)) continue;
    PageIndex there = moved.target + (page - moved.range.begin);
    if (regions_.contains({there, there + 1}) != overtaking) continue;
    PageRange one{page, page + 1};
    Overtaken::Found old = overtaken_.oldest(one);
    if (old.any && speaks_of_newcomer(old, one, there) != (whose == Whose::kNewcomer)) continue;
    if (filled(fill_child(child, word, there, worker))) return true;
  }
  return false;
}

// Gives the child every page that is out. Present already, or not mapped there: that is the child's business.
void Space::populate_child(int child, Worker& worker) {
  for (PageIndex page = table_.next_leaf({0}, kEndOfPages); page < kEndOfPages;) {
    PageWord word = table_.peek(page);
    if (word.is_out() || word.is_poisoned()) {
      // Where nothing was in use before, there is something in the child only if the move came first.
      if (!fill_moved(child, word, page, Whose::kNewcomer, false, worker) &&
          !filled(fill_child(child, word, page, worker))) {
        fill_moved(child, word, page, Whose::kNewcomer, true, worker);
      }
    }
    page = table_.next(page, kEndOfPages);
  }
  // What was overtaken, and has moved on by a message that came with the fork's.
  for (std::size_t w = 0; w < overtaken_.word_count(); ++w) {
    Overtaken::Word old = overtaken_.word(w);
    if (!fill_moved(child, old.word, old.page, Whose::kOld, false, worker)) {
      fill_moved(child, old.word, old.page, Whose::kOld, true, worker);
    }
  }
}

void Space::drop_filled() {
  sync::MutexLock lock(layout_);
  COLDPRESS_CHECK(marks_.in_use() == 0);  // no operation was under way
  for (PageIndex page = table_.next_leaf({0}, kEndOfPages); page < kEndOfPages;
       page = table_.next_leaf(page, kEndOfPages)) {
    PageIndex leaf_end{(page.value / PageTable::kLeafPages + 1) * PageTable::kLeafPages};
    while (page < leaf_end) {
      PageRange present[16];
      std::size_t runs = mmu_->scan_present({page, leaf_end}, PageTable::kLeafPages, present, &page);
      for (std::size_t i = 0; i < runs; ++i) {
        for (PageIndex at = present[i].begin; at < present[i].end; at = at + 1) {
          if (PageWord word = table_.peek(at); word.is_entry()) {
            store_word(at, PageWord());
            drop_entry(word.entry());
          }
        }
      }
    }
  }
}

void Space::prepare_unseen_fork(Worker& worker) {
  paused_.store(true);
  { sync::MutexLock flush(layout_); }  // a capture under way ends; the next one sees the pause
  page_in({{0}, kEndOfPages}, worker);
  show_to_forks(true);
}

void Space::end_unseen_fork() {
  show_to_forks(false);
  paused_.store(false);
}

void Space::show_to_forks(bool shown) {
  sync::MutexLock lock(layout_);
  // By the kernel's view: a mapping that grew in place is hidden to its end, and the regions may not know.
  for (PageIndex at{0}; at < kEndOfPages;) {
    PageRange found[16];
    std::size_t runs = mmu_->scan_registered({at, kEndOfPages}, found, &at);
    for (std::size_t i = 0; i < runs; ++i) mmu_->hide_from_fork(found[i], !shown);
  }
}

}  // namespace coldpress::vm
