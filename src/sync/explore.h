// What schedule exploration needs in the engine's source; nothing of it is left in other builds.
//
// Marks: mark("where") says that an execution came by. A scenario names the marks that its exploration must
// reach, else it would prove nothing.
//
// Mutants: mistakes that were made elsewhere (docs/races.md names where), each in one place here, off. The
// sched tests turn one on at a time, and the scenario that is to find it must.
//
// Names: name_object(layout_, "layout") is what traces call it from then on.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef COLDPRESS_SCHED
#include "sync/sched/names.h"
#include "sync/sched/scheduler.h"
#endif

namespace coldpress::sync {

enum class Mutant : std::uint8_t {
  kNone,
  // writeback, after mail 000
  kIsolateVictim,    // next_victim() takes the entry off its list; who gives up puts nothing back
  kTouchBeforeLock,  // the entry is marked as being written before its slot is locked and checked
  kNoIdentityCheck,  // the slot's lock is taken for proof that the entry is still its owner
  kSettleUnchecked,  // a write that is done takes ownership, whatever happened meanwhile
  kForgetUnlock,     // the way out of a write that failed leaves the slot locked
  // the pool, after mail 001
  kListAtAccess,   // pin() moves the zspage in its list
  kWriteUnpinned,  // store() writes the bytes of an object that compaction may move
  kInferState,     // what was so before the lock is believed after: this object is the zspage's last
  // loads, after mail 002
  kExclusiveLoad,  // the pool's copy is dropped when it was read, before the page is mapped
  kCleanDrop,      // a page that came back counts as clean: its frame is dropped, not stored
  // faults, after mail 003
  kPublishFirst,  // the slot stays locked while memory is made free
  kLeakOnRetry,   // a load that must start over leaves the slot locked
  kPollForSlot,   // the loser looks again by the clock
  // loads beside the swap cache, after mail 004
  kNoPin,         // the bytes are read without the slot's lock
  kUnpinEarly,    // the slot is free before the page is mapped
  kLookOnce,      // slots: whoever takes a cluster's last slot does not look again after unmarking it
  kEqualIsProof,  // an entry that is equal again counts as unchanged
  // the same with marks in the page table
  kNoMark,           // a page that is read from a device has no mark
  kMarkStays,        // the mark of a page that was read in vain stays
  kMarkForgetsZap,   // who gives the page up leaves the mark as it is
  kMarkDropsTwice,   // and frees the slot, which the loader does
  kMarkMoves,        // a page that moves does not tell its mark
  kMarkWakesNobody,  // who faulted meanwhile sleeps on
  // others of the kernel's bugs, by their number in docs/races.md
  kKeepCopy,            // 2: a load leaves the pool's copy behind
  kKeepObject,          // 5: a store that finds no memory for its entry keeps the object
  kRunEqualIsProof,     // 7: the pages of a run are believed to be what they were when they were loaded
  kCompressUnlocked,    // 11: a page is compressed without its slot's lock
  kDeviceExclusive,     // 13: a device drops its copy when it is read
  kRecompressUnlocked,  // 14: an entry is replaced without its slot's lock
  kForgetRecord,        // 16: what was written for nothing stays on the device
  kNoWaitForWrites,     // 18d: swapoff does not wait for what is on its way
  kRunUnlocked,         // 19: what comes along is read from a device without its slot's lock
  kFreezeNothing,       // 20: swapoff lets others go on writing to the device
  kFreeThenDrop,        // 22: a slot is free before its record is dropped
  kPlainBits,           // 27: a bit is taken from a word by a load and a store
  kMoveShared,          // 33: the frame of a page that is shared becomes one's own
  kTrustWrite,          // 35: a write that failed counts as done
  kFreeUnpinned,        // 36, 39: free() looks where the object is before it pins it
  kKeepEmpty,           // 38: a zspage without objects stays where it is
  kRetryBusy,           // 40: compaction goes on until what is pinned is not
  // what only this engine has
  kStaleScan,         // what was scanned is believed after others have been at the layout
  kLookBefore,        // the gate is looked at before the operation has begun, not after
  kEndQuietly,        // the end of an operation wakes nobody who waits for it
  kCountersSwapped,   // the counters of the fork check lie the wrong way round
  kTickFirst,         // the background decides how long to sleep before faults may claim the turn
  kClaimQuietly,      // a fault claims the turn and wakes nobody
  kTicketAfterLook,   // 6: who waits for a compression context looks first and takes his ticket then
  kBackQuietly,       // 6: who gives one back wakes nobody
  kEmptyGroupEnds,    // 8: writeback ends at the first group that has nothing
  kForgetCharge,      // 18c: who drops a record that is not wanted leaves it charged
  kNoWriterBarrier,   // 21: swapoff does not wait for who was packing when it began
  kChildMissesFrame,  // what is in a frame is zeros to the child of a fork
  kAdoptBlind,        // a range is adopted as the caller has seen it, with what is not registered
  kTrustCopy,         // a copy that was kept serves without being compared
  kLeakCopy,          // and one that is out of date stays in the pool
  kLosePayer,         // a frame that moves with its page forgets who pays for it
  kForgetThaw,        // a device whose swapoff was refused stays as it was made for that
  kCountWraps,        // 26: a slot takes one more sharer than it can count
  kSettleQuietly,     // who waits for writes is not told that some were settled
  kForgetElsewhere,   // 26: what a slot's word has no room for is not brought back
};

// What the engine does in two ways, each shown to be right: how a load keeps its bytes (vm/load_marks.h); and
// a clock taken away, which would hide a signal that is lost.
enum class Variant : std::uint8_t {
  kAsBuilt,  // from a device with a mark, from the pool with the slot's lock alone
  kPins,     // always the lock alone
  kMarks,    // always a mark
  kNoClock,  // as built, and who waits for a write waits until he is told
};

#ifdef COLDPRESS_SCHED
inline Variant active_variant = Variant::kAsBuilt;
inline bool is_variant(Variant variant) { return active_variant == variant; }
inline Mutant active_mutant = Mutant::kNone;
inline bool is_mutant(Mutant mutant) { return active_mutant == mutant; }
inline void mark(const char* name) { sched::scheduler().mark(name); }
// In mutants: others may run here.
inline void let_others_run(const sched::Where& where = sched::Where::current()) {
  sched::scheduler().point(sched::Op::kMark, nullptr, where);
}
template <typename T>
void name_object(const T& object, const char* name) {
  if (sched::names().wanted()) sched::names().add({&object, sizeof(T), sizeof(T), 1, name, 0});
}
// `count` objects, the first of which has this number; `stride` bytes apart, when they are parts of others.
template <typename T>
void name_each(const T* first, std::size_t count, const char* name, std::uint64_t number = 0,
               std::size_t stride = sizeof(T)) {
  if (sched::names().wanted()) sched::names().add({first, sizeof(T), stride, count, name, number});
}
// Between begin() and end() no other task runs: for simulated machines.
struct Together {
  void begin() { sched::scheduler().hold(); }
  void end() { sched::scheduler().let_go(); }
};
#else
constexpr bool is_variant(Variant) { return false; }
constexpr bool is_mutant(Mutant) { return false; }
constexpr void mark(const char*) {}
constexpr void let_others_run() {}
template <typename T>
constexpr void name_object(const T&, const char*) {}
template <typename T>
constexpr void name_each(const T*, std::size_t, const char*, std::uint64_t = 0, std::size_t = 0) {}
struct Together {
  void begin() {}
  void end() {}
};
#endif

}  // namespace coldpress::sync
