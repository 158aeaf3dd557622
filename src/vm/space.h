// Space: one managed address space. Fault service, layout changes, reclaim and the service of forked children
// meet here, over the Mmu, the slot table, the frames and zswap.
//
// How a page goes (docs/life-of-a-page.md follows one): captured by one atomic call into a frame (slot state
// kFrame; it rests there for a second chance), compressed (kZswap, kSame), written to a device (kDevice),
// loaded at the next touch.
//
// The layout mutex serialises everything that changes what the program's page table and the page words say
// about each other: capture, install, fill, and taking layout messages with their processing. Each such
// section is about a microsecond; compression and decompression happen outside. Together with the Mmu's
// promise (no move succeeds while an untaken layout message exists) this makes every decision exact:
//  1. A page word that is an entry is published, with its slot locked, before the page is captured, and is
//     taken back if the capture fails; so a fault that follows the capture finds it.
//  2. A load prepares the bytes without the layout mutex (load.cc), then takes it, then the slot again, and
//     starts over if page word, slot state or payload have changed: equal entries prove nothing (ABA), but
//     slot and generation under the lock do.
//  3. On kChanging everything is let go, the message is taken, and the page word is read from scratch.
//  4. Metadata of a range dies when its message is taken, before anybody can register that range again.
//
// Lock order: writer, scan mutex, layout mutex, slot, zswap/pool/frames/devices. Faults of the engine itself
// can not happen: it touches frames, tables and pool only. Thread safety: all public functions from any
// engine thread (handle_fault also in a signal handler), each thread with its own Worker.
#pragma once

#include <algorithm>

#include "base/log.h"
#include "memgroup/group.h"
#include "os/mmu.h"
#include "swap/device_store.h"
#include "swap/frame_pool.h"
#include "swap/slot_table.h"
#include "sync/mutex.h"
#include "vm/load_marks.h"
#include "vm/overtaken.h"
#include "vm/owner_map.h"
#include "vm/page_table.h"
#include "vm/region_map.h"
#include "vm/state.h"
#include "vm/surroundings.h"
#include "vm/turns.h"
#include "zswap/zswap.h"

namespace coldpress::vm {

class Space {
 public:
  [[nodiscard]] bool init(MemorySource& source, os::Mmu& mmu, memgroup::Group& group,
                          const SpaceOptions& options);
  void set_fork_handler(ForkHandler* handler) { fork_handler_ = handler; }
  void set_usage_source(UsageSource* source) { usage_source_ = source; }

  // --- ranges
  // Registers a range; its pages may be captured from now on. kLater: other threads change their mappings all
  // the time, perhaps a part was adopted; try again. kRefused: by the kernel, or the table of ranges is full.
  enum class Adopted { kYes, kLater, kRefused };
  [[nodiscard]] Adopted adopt(PageRange range, Worker& worker) EXCLUDES(layout_);
  // Brings every page back and unregisters the range. false: some page could not be brought back.
  bool release(PageRange range, Worker& worker) EXCLUDES(layout_);
  // Drops the range's metadata without bringing anything back: the memory is being unmapped.
  void forget(PageRange range) EXCLUDES(layout_);
  bool managed(PageRange range) EXCLUDES(layout_);
  // Whether the kernel has the page registered here.
  bool knows(PageIndex page) { return any_registered({page, page + 1}); }
  // As managed(), in the child of a fork, of the copy that it has: who held the mutex is not there.
  bool copy_knows(PageIndex page) const NO_THREAD_SAFETY_ANALYSIS {
    return regions_.contains({page, page + 1});
  }

  // --- faults and messages
  // Takes at most one message. A fault is returned in *fault (true) to be handled by the caller; layout
  // changes are processed here.
  bool take_message(Worker& worker, os::Message* fault) EXCLUDES(layout_);
  // Serves a fault: returns when the page is there, or gone. false: it is on a device that this worker can
  // not read; another must serve it.
  bool handle_fault(PageIndex page, bool write, Worker& worker) EXCLUDES(layout_);
  // Serves what was put aside: what every thread that calls into the engine does last.
  void handle_pending(Worker& worker) EXCLUDES(layout_);

  // --- reclaim (reclaim.cc)
  // Reclaims until usage is at most `target` pages, or, while some go, until then (0: never). false: none go.
  bool reclaim_to(std::int64_t target, Worker& worker, std::int64_t until_ns = 0) EXCLUDES(layout_);
  // Reclaim has given up, a moment ago, and nothing has changed since.
  bool hopeless() const;
  Turns& turns() { return turns_; }
  void hope_again();  // something has
  // What reclaim met of pages that a fork has shared: for Mmu::make_own(), by a thread that no fault, and no
  // fork, waits for.
  static constexpr std::size_t kMaxShared = 64;
  std::size_t take_shared(PageRange (&ranges)[kMaxShared]) EXCLUDES(layout_);
  static constexpr PageIndex kEndOfPages{(std::uint64_t{1} << 35) - 1};
  // The next turn of the hand takes the range's pages, whatever it has learnt of them.
  void make_old(PageRange range) EXCLUDES(layout_);
  // Captures what it can of the range, compresses it: returns the pages that left. And brings them back.
  std::uint64_t page_out(PageRange range, Worker& worker) EXCLUDES(layout_);
  bool page_in(PageRange range, Worker& worker, bool fill = false) EXCLUDES(layout_);
  bool paused() const { return paused_.load(); }  // for a fork: nothing is taken out
  // Keeps reclaim from the range's pages, or lets it again. What is out stays out.
  bool set_pinned(PageRange range, bool pinned) EXCLUDES(layout_);  // false: no memory; it is as it was

  // --- memory groups (groups.cc); where usage is counted
  // The range's pages are charged to the account from now on. false: the table is full.
  bool give_to(PageRange range, memgroup::AccountId account) EXCLUDES(layout_);
  // Whose the page is; `to_next`: how many pages from it on are, at least.
  memgroup::AccountId account_of(PageIndex page, std::uint64_t* to_next) EXCLUDES(layout_);
  // What belongs to it belongs to the one above it.
  void close_group(memgroup::AccountId account) EXCLUDES(layout_);
  // As reclaim_to(), of one group's pages; for all, in the background.
  bool reclaim_group(memgroup::AccountId account, std::int64_t target, Worker& worker,
                     std::int64_t until_ns = 0) EXCLUDES(layout_);
  void watch_groups(Worker& worker) EXCLUDES(layout_);

  // --- clones (clone.cc)
  // Gives the range that begins at `to`, adopted and never touched, the content that `from` has, page by
  // page: by sharing what is out, after taking out what is not. What is written to `from` meanwhile may be in
  // it or not. `done`: how far it has come, from.begin at first.
  //   kGoesOn   call it again; in another operation, so that forks get in
  //   kMakeOwn  as kGoesOn, after Mmu::make_own() for what take_shared() tells, outside of the operation
  //   kRefused  memory has run out, or a page is pinned: unmap the target, it has a part
  enum class Cloned { kAll, kGoesOn, kMakeOwn, kRefused };
  [[nodiscard]] Cloned clone(PageRange from, PageIndex to, PageIndex& done, Worker& worker) EXCLUDES(layout_);

  // --- recompression (recompress.cc)
  // Packs some of what stays cold harder. By one thread at a time, whose worker has zswap::Worker::dense.
  void recompress_some(Worker& worker) EXCLUDES(layout_);
  // How long the hand takes to come round, at least; what stays so long is packed harder.
  void set_recompress_turn(std::int64_t turn_ns) { recompression_.turn_ns = turn_ns; }
  // Pages that one fault brings, at most: 1 to Worker::kMaxRun.
  void set_readahead(std::uint32_t pages) { readahead_.most.store(pages, sync::kRelaxed); }
  void set_recompress_share(std::uint32_t percent) { recompression_.percent.store(percent, sync::kRelaxed); }

  // --- swap devices (writeback.cc)
  swap::DeviceStore& devices() { return devices_; }
  // Bytes in the pool, and pages on devices, at most.
  void set_zswap_max(std::int64_t bytes) { zswap_max_bytes_.store(std::min(bytes, kNoZswapMax)); }
  void set_swap_max(std::uint64_t pages) { swap_max_pages_.store(pages, sync::kRelaxed); }
  void set_pool_share(std::uint32_t percent, std::uint32_t accept_percent);
  bool compact_pool(bool asked = false);  // a step, if it is worth it or asked for; false: nothing to do
  bool trim_pool(bool all);               // gives back what the pool keeps for new zspages (ZsPool::trim())
  void give_back_rest();                  // some of that, and what waits for more of its kind; now and then
  void set_shrinker(bool enabled) { shrinker_.enabled.store(enabled, sync::kRelaxed); }
  // Objects of the account that the shrinker would take in a turn.
  std::uint64_t shrinkable(memgroup::AccountId account);
  void set_writeback(bool enabled) { writeback_enabled_.store(enabled, sync::kRelaxed); }
  // Whether what does not compress can go anywhere.
  bool takes_raw() const {
    return writeback_enabled_.load(sync::kRelaxed) && !swap_full() &&
           (devices_.has_room() || swap_offered_.load(sync::kRelaxed));
  }
  bool swap_full() const { return devices_.records() >= swap_max_pages_.load(sync::kRelaxed); }
  // A device can be made when one is needed (UsageSource::make_swap()).
  void offer_swap(bool offered) { swap_offered_.store(offered); }
  bool has_swap() const {
    return writeback_enabled_.load(sync::kRelaxed) &&
           (devices_.in_use() || swap_offered_.load(sync::kRelaxed));
  }
  // Moves the oldest compressed pages on, of the account and those below it, as far as `need` asks. false:
  // there was nothing to do.
  enum class WritebackNeed { kBackground, kSoon, kShrink, kLastResort };
  bool write_back(WritebackNeed need, Worker& worker, memgroup::AccountId account = memgroup::kProcess)
      EXCLUDES(layout_);
  // Waits, at most so long, until no write is under way. false: one still is.
  bool finish_writes(std::int64_t wait_ns) EXCLUDES(layout_);
  bool finish_writes_to(std::size_t area, std::int64_t wait_ns) EXCLUDES(layout_);
  // Settles what has ended, makes room on the devices, and gives back what is free.
  void tidy_devices(Worker& worker) EXCLUDES(layout_);
  // Brings all of the area back and takes it out of use. kGoesOn: again soon, with `goes_on`, or thaw it.
  // Anything else but kDone: it is in use as before.
  enum class SwapOff { kDone, kGoesOn, kNotThere, kNoMemory, kUnreadable, kBusy };
  SwapOff swap_off(std::size_t area, bool goes_on, Worker& worker) EXCLUDES(layout_);
  // In the child of a fork that takes over: what the parent has written is read, and nothing written there.
  void inherit_devices();

  // --- children of a fork (called from ForkHandler, layout mutex held)
  void child_fault(int child, PageIndex page, Worker& worker) REQUIRES(layout_);
  void populate_child(int child, Worker& worker) REQUIRES(layout_);
  // In a child that takes over the tables of its parent, before anything else: pages that the parent has
  // filled for it are its own now, and their entries are dropped.
  void drop_filled() EXCLUDES(layout_);
  // For forks without a fork event: brings everything back, and keeps reclaim off until the fork's end.
  void prepare_unseen_fork(Worker& worker) EXCLUDES(layout_);
  void end_unseen_fork() EXCLUDES(layout_);

  std::uint64_t metadata_pages() EXCLUDES(layout_);
  // Sets the gauges of what is stored by the tables: in the child of a fork.
  void recount();
  // What does not agree, of all that is counted; empty when the accounts close. Exact while nobody else uses
  // the space; else it may name what is being changed.
  Text accounts() EXCLUDES(layout_);
  void update_gauges() EXCLUDES(layout_);
  // What is in the group's usage that is none of this space's pages: where usage is counted.
  void charge_uncounted(std::int64_t pages);
  sync::Mutex& layout_mutex() COLDPRESS_ANNOTATE(lock_returned(layout_)) { return layout_; }
  zswap::Zswap& zswap() { return zswap_; }
  swap::FramePool& frames() { return frames_; }
  const PageTable& pages() const { return table_; }

 private:
  bool any_registered(PageRange range);
  Text group_accounts() REQUIRES(layout_);
  Adopted try_adopt(PageRange range) REQUIRES(layout_);

  enum class Outcome { kDone, kAgain, kChanging, kBusy, kNoMemory, kGone };
  Prepared prepare(PageIndex page, Worker& worker) EXCLUDES(layout_);
  static bool loads_slowly(swap::State state);
  Loaded load(swap::SlotWord slot, bool many, Worker& worker, std::byte* page);
  Prepared prepare_marked(PageIndex page, bool many, Worker& worker, std::byte* bytes) EXCLUDES(layout_);
  void take_marks_off(Worker& worker) REQUIRES(layout_);
  Busy at_mark(PageWord word) REQUIRES(layout_);
  Busy at_slot(swap::Entry entry) REQUIRES(layout_);
  void wait_for(const Busy& busy) EXCLUDES(layout_);
  void give_up_loading(PageWord word) REQUIRES(layout_);
  // readahead.cc
  sync::Atomic<std::uint64_t>& expected_at(PageIndex page);
  std::uint32_t window_at(PageIndex page);
  bool follows(PageIndex page);
  void expect_after(PageIndex page, const Prepared& last, std::uint32_t count);
  std::uint32_t prepare_run(PageIndex page, Prepared (&run)[Worker::kMaxRun], std::int64_t room,
                            std::uint64_t reach, Worker& worker) EXCLUDES(layout_);
  Outcome resolve_run(PageIndex page, bool write, Prepared (&run)[Worker::kMaxRun], std::uint32_t& count,
                      Worker& worker) REQUIRES(layout_);
  bool keep_copy(PageIndex page, swap::SlotWord slot) REQUIRES(layout_);
  Outcome resolve(PageIndex page, bool write, Prepared& prepared, Worker& worker) REQUIRES(layout_);
  Outcome resolve_entry(PageIndex page, PageWord word, Prepared& prepared, Worker& worker) REQUIRES(layout_);
  Outcome put_back(PageIndex page, PageWord word, swap::SlotWord slot, PageWord after) REQUIRES(layout_);
  static Outcome outcome_of(const os::MoveResult& result);
  Outcome fill(PageIndex page, bool write) REQUIRES(layout_);
  std::uint32_t fill_window(PageIndex page) REQUIRES(layout_);
  Outcome poison(PageIndex page, Loaded why) REQUIRES(layout_);
  void count_lost(Loaded why);
  PageWord word_after_load(PageIndex page, PageWord entry_word) REQUIRES(layout_);
  void make_room(Worker& worker) EXCLUDES(layout_);
  std::int64_t room_at_once(memgroup::AccountId account) const;
  bool drain_messages(Worker& worker) EXCLUDES(layout_);

  void process(const os::Message& message, Worker& worker) REQUIRES(layout_);
  void drop_range(PageRange range, bool zapped) REQUIRES(layout_);
  void unmap(PageRange range) REQUIRES(layout_);
  void remap(PageRange from, PageIndex to) REQUIRES(layout_);
  void forget_moves() REQUIRES(layout_);
  void overtake(PageRange target) REQUIRES(layout_);
  bool find_arrivals(PageRange target) REQUIRES(layout_);
  bool speaks_of_newcomer(const Overtaken::Found& old, PageRange& part, PageIndex to) REQUIRES(layout_);
  bool newcomer_left(PageRange& part) REQUIRES(layout_);
  bool newcomer_moved(PageRange from, PageRange part, PageIndex to) REQUIRES(layout_);
  void move_owners(PageRange from, PageIndex to) REQUIRES(layout_);
  void set_aside(PageRange range) REQUIRES(layout_);
  void keep_or_forget(PageIndex page, PageWord word) REQUIRES(layout_);
  void forget_part(PageRange range) REQUIRES(layout_);
  void forget_gone(PageRange range) REQUIRES(layout_);
  template <typename Receive>
  void take_words(PageRange range, Receive receive) REQUIRES(layout_);
  void place_word(PageIndex page, PageWord word) REQUIRES(layout_);
  void move_words(PageRange from, PageIndex to) REQUIRES(layout_);
  void drop_entry(swap::Entry entry) REQUIRES(layout_);
  void give_up(swap::Entry entry, swap::SlotWord slot) REQUIRES(layout_);
  void show_to_forks(bool shown) EXCLUDES(layout_);
  void fork(int child, Worker& worker) REQUIRES(layout_);
  os::MoveStatus fill_child(int child, PageWord word, PageIndex page, Worker& worker) REQUIRES(layout_);
  enum class Whose { kNewcomer, kOld };
  bool fill_moved(int child, PageWord word, PageIndex page, Whose whose, bool overtaking, Worker& worker)
      REQUIRES(layout_);
  Loaded read_content(PageWord word, Worker& worker) REQUIRES(layout_);

  // clone.cc
  enum class CloneStep { kDone, kCaptureFirst, kBusy, kChanging, kRefused };
  CloneStep clone_words(PageRange from, PageIndex to, PageIndex& done, Worker& worker) EXCLUDES(layout_);
  CloneStep clone_word(PageWord word, PageIndex to, Worker& worker) REQUIRES(layout_);
  CloneStep clone_poison(PageIndex to) REQUIRES(layout_);

  // writeback.cc
  static constexpr std::int64_t kNoZswapMax = memgroup::kNoLimit / 2;
  bool pool_is_full();
  std::int64_t zswap_max_left() const;
  bool pack(memgroup::AccountId scope) REQUIRES(devices_.writer());
  bool next_victim(memgroup::AccountId scope, zswap::Zswap::Victim* victim) REQUIRES(devices_.writer());
  bool settle_writes(std::int64_t wait_ns) REQUIRES(devices_.writer());
  void await_write(std::uint32_t ticket, const Worker& worker) EXCLUDES(devices_.writer());
  void tell_settled();
  void settle(const swap::Move& move, bool written);
  void write_failed();
  void shrink_pool(Worker& worker) EXCLUDES(layout_);
  Loaded load_from_device(std::uint32_t record, bool many, Worker& worker, std::byte* page);
  bool room_within(memgroup::AccountId account, Worker& worker) EXCLUDES(layout_);
  SwapOff take_back(std::uint32_t record, swap::Owner owner, Worker& worker);
  void drop_move(const swap::Move& move);
  void recompress_one(const zswap::Zswap::Victim& found, Worker& worker);

  // reclaim.cc, capture.cc
  bool reclaim_step(bool urgent, Worker& worker) EXCLUDES(layout_);
  std::uint64_t rest_target() const, pages_gone() const;
  bool copies_allowed() const;
  bool capture_ahead() EXCLUDES(layout_);
  bool faults_do_it();
  struct Captured {
    std::uint32_t pages = 0;
    bool interrupted = false;  // by a layout message: come back later
  };
  Captured capture_batch(PageRange within, PageIndex& hand, bool all, unsigned scans = ~0u) EXCLUDES(layout_);
  Captured capture_next() EXCLUDES(layout_);
  os::MoveStatus capture_run(PageIndex first, std::uint32_t pages, swap::GroupId group, std::uint32_t& filled)
      REQUIRES(layout_);
  struct Compressed {
    bool any = false;       // frames have left
    bool all_back = false;  // no layout message kept a page from its way back
  };
  // `scope`: whose frames; others stay.
  Compressed compress_group(swap::GroupId group, Worker& worker,
                            memgroup::AccountId scope = memgroup::kProcess) EXCLUDES(layout_);
  void compress_rested(Worker& worker) EXCLUDES(layout_);
  bool give_back(FrameId frame, swap::FrameOwner owner, unsigned skip) EXCLUDES(layout_);
  bool release_spent(bool few);
  bool let_faults_in() REQUIRES(layout_);
  void note_shared(PageRange range) REQUIRES(layout_);
  void leave_alone(PageIndex page, PageWord for_now) REQUIRES(layout_);
  void disown_frame(FrameId frame);
  void store_resident(PageIndex page, PageWord hints) REQUIRES(layout_);
  void forget_word(PageWord word) REQUIRES(layout_);
  void forget_payer(PageWord word) REQUIRES(layout_);
  std::size_t scan(PageRange range, bool charge, std::span<PageRange> found, PageIndex* to) REQUIRES(layout_);
  void forget_absent(PageRange range) REQUIRES(layout_);
  void charge_present(PageRange range) REQUIRES(layout_);
  void recheck_dropped() EXCLUDES(layout_);
  void count_load(PageIndex page, swap::State from, bool faulted) REQUIRES(layout_);
  bool may_write_back(memgroup::AccountId account) const;
  bool store_refused(memgroup::AccountId account) const;
  void make_room_within(memgroup::AccountId account, Worker& worker) EXCLUDES(layout_);
  bool reclaim_group_step(memgroup::AccountId account, bool all, Worker& worker) EXCLUDES(layout_);
  Captured capture_of(memgroup::AccountId account, bool all) EXCLUDES(layout_);
  static std::int64_t mark_of(const memgroup::Account& account);
  void store_word(PageIndex page, PageWord word) REQUIRES(layout_);
  std::uint32_t shadow_now(PageIndex page) REQUIRES(layout_);
  void limit_missed();
  bool shared_lately() const;
  bool wait_for_device(DeviceWait& wait, const Worker& worker);

  os::Mmu* mmu_ = nullptr;
  memgroup::Group* group_ = nullptr;
  ForkHandler* fork_handler_ = nullptr;
  UsageSource* usage_source_ = nullptr;

  sync::Mutex layout_;
  PageTable table_;
  RegionMap regions_ GUARDED_BY(layout_);
  RegionMap pinned_ GUARDED_BY(layout_);
  OwnerMap owners_ GUARDED_BY(layout_);
  std::uint64_t layout_changes_ GUARDED_BY(layout_) = 0;  // that the engine has heard of, or made
  bool counted_ = false;
  sync::Atomic<std::int64_t> uncounted_{0};
  LoadMarks marks_;
  swap::SlotTable slots_;
  swap::FramePool frames_;
  zswap::Zswap zswap_;
  swap::DeviceStore devices_;
  sync::Atomic<std::uint32_t> max_pool_percent_{0}, accept_threshold_percent_{0};
  sync::Atomic<bool> pool_full_{false};
  sync::Atomic<std::int64_t> zswap_max_bytes_{kNoZswapMax};
  sync::Atomic<std::uint64_t> swap_max_pages_{memgroup::kNoLimit};
  Shrinker shrinker_;
  memgroup::AccountId victims_of_ GUARDED_BY(devices_.writer()) = 0;  // whose turn it is
  std::uint32_t victims_left_ GUARDED_BY(devices_.writer()) = 0;
  sync::Atomic<bool> swap_offered_{false}, writeback_enabled_{true};
  Recompression recompression_;
  sync::Atomic<bool> writing_{false};           // somebody is packing
  std::int64_t swap_off_stalled_since_ns_ = 0;  // the caller of swap_off() only; 0: it goes on
  sync::Atomic<bool> device_stuck_{false}, stuck_reported_{false};  // a write was waited for in vain
  sync::Event writes_settled_;                                      // some were, or the writer is done

  // Where something was moved to, moved from, unmapped, while changes are under way: see layout.cc.
  Overtaken overtaken_ GUARDED_BY(layout_);
  RegionMap moved_lately_ GUARDED_BY(layout_);
  RegionMap left_lately_ GUARDED_BY(layout_);
  RegionMap gone_lately_ GUARDED_BY(layout_);
  RegionMap kept_lately_ GUARDED_BY(layout_);

  // Messages that came with a fork, not followed yet: see fork.cc.
  static constexpr std::size_t kMaxConcurrent = 256;
  os::Message concurrent_[kMaxConcurrent] GUARDED_BY(layout_);
  std::size_t concurrent_count_ GUARDED_BY(layout_) = 0;

  // Pages that a fork has shared, met by the hand: see reclaim.cc.
  PageRange shared_[kMaxShared] GUARDED_BY(layout_);
  std::size_t shared_count_ GUARDED_BY(layout_) = 0;
  std::uint64_t shared_pages_ GUARDED_BY(layout_) = 0;
  sync::Atomic<std::int64_t> shared_seen_ns_{-1'000'000'000};

  sync::Mutex scan_mutex_;  // before the layout mutex
  PageIndex hand_ GUARDED_BY(scan_mutex_);
  PageIndex group_hands_[memgroup::kMaxAccounts] GUARDED_BY(scan_mutex_);
  FillHint fill_hints_[kFillHints] GUARDED_BY(layout_);
  Readahead readahead_;
  sync::Atomic<std::uint64_t> captures_{0};  // the clock of refault distances
  sync::Atomic<bool> paused_{false};
  Turns turns_;
  Hopeless hopeless_;
  sync::Atomic<bool> warned_{false}, damage_reported_{false}, write_failure_reported_{false};
  Recheck recheck_;
};

}  // namespace coldpress::vm
