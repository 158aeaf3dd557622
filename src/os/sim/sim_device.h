// A block device for tests: content in memory, and everything that can go wrong, decided by a seed or a plan.
//
// Writes are done when they are reaped, in any order; until then the device has the old content. A torn write
// leaves some blocks new and some old and says kDone; a lost one leaves all old. Thread safety: any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "os/block_device.h"
#include "os/sim/one_step.h"
#include "sync/mutex.h"

namespace coldpress::os {

class SimDevice final : public BlockDevice {
 public:
  explicit SimDevice(std::uint64_t bytes, std::uint64_t seed = 1) : content_(bytes), random_(seed) {
    sync::name_object(mutex_, "device");
    sync::name_object(hangs_, "device hangs");
  }

  // One in so many calls; 0: never. What these count is a chance.
  struct Faults {
    std::uint32_t read_error = 0, write_error = 0, no_space = 0;
    std::uint32_t torn_write = 0, lost_write = 0;
    std::uint32_t late = 0;      // a write that is not ready when asked for
    bool answers_never = false;  // no write is ever ready
    // Instead of at random: only at this chance, from 1 on, and those after it, `times` in all.
    std::uint64_t only_at = 0, times = 1;
  };
  void set_faults(const Faults& faults);
  std::uint64_t chances() const;  // since then
  // Reads wait, until it is let go. In tests with tasks.
  void hang();
  void let_go();
  // As memory does, it gives its bytes where they are.
  void set_synchronous(bool synchronous) { synchronous_ = synchronous; }
  // Writes noise over the content, as another program would.
  void scribble(std::uint64_t offset, std::uint64_t count);
  void overwrite(std::uint64_t offset, std::span<const std::byte> bytes);
  // Bytes of it that were written and not discarded since, in blocks.
  std::uint64_t used_bytes() const;
  std::uint64_t reads() const;
  bool contains(std::span<const std::byte> bytes) const;

  std::uint64_t bytes() const override { return content_.size(); }
  IoStatus read(std::uint64_t offset, std::byte* into, std::size_t count) override;
  void submit_write(std::uint64_t offset, const std::byte* from, std::size_t count,
                    std::uint32_t tag) override;
  std::size_t reap(std::span<Completion> completions, std::int64_t wait_ns) override;
  void discard(std::uint64_t offset, std::uint64_t count) override;
  const std::byte* in_place(std::uint64_t offset) override {
    return synchronous_ ? content_.data() + offset : nullptr;
  }

 private:
  struct Write {
    std::uint64_t offset;
    const std::byte* from;
    std::size_t count;
    std::uint32_t tag;
  };
  std::uint64_t next_random();
  bool one_in(std::uint32_t odds);
  std::size_t reap_now(std::span<Completion> completions, bool perhaps_late);
  IoStatus finish(const Write& write);

  mutable sync::Mutex mutex_;
  std::vector<std::byte> content_;
  std::vector<bool> used_ = std::vector<bool>(content_.size() / kBlockBytes);
  std::vector<Write> under_way_;
  Faults faults_;
  bool synchronous_ = false;
  sync::Atomic<std::uint32_t> hangs_{0};
  std::uint64_t reads_ = 0, chances_ = 0;
  std::uint64_t random_;
};

}  // namespace coldpress::os
