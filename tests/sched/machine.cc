#include "sched/machine.h"

#include <algorithm>

#include "sync/futex.h"

namespace coldpress::testing {
namespace {

Arena& arena() {
  static Arena one;
  return one;
}

// From kDense on, half of the words are noise of few bits: lz4 saves the other half, and zstd half of the
// rest.
PageContent content(std::uint64_t number) {
  if (number < Machine::kDense) return make_content(ContentKind::kCompressible, number);
  PageContent page{};
  Random random(number);
  for (std::size_t i = 0; i < kPageWords; ++i) {
    page[i] = i % 2 == 0 ? random.next() & 0x0f0f0f0f0f0f0f0f : number + i / 64;
  }
  return page;
}

}  // namespace

Machine::Machine(Run& run, const MachineOptions& options)
    : sim_({.frame_count = 64}), counted_(options.counted) {
  arena().reset();
  sync::active_variant = options.variant;
  group_.init(options.limit_pages, &stats_);
  vm::SpaceOptions space{.pool_bytes = 4 << 20, .max_slots = 256, .max_leaves = 8, .counted = counted_};
  MUST(space_.init(arena(), sim_, group_, space));
  space_.set_usage_source(this);
  space_.set_fork_handler(this);
  for (vm::Worker& worker : workers_) MUST(make_worker(arena(), {codec::Kind::kLz4, 1}, worker));
  for (std::size_t i = 0; i < options.devices; ++i) add_device(options.device_bytes, options.synchronous);
  sim_.set_fault_handler(this);
  for (std::uint32_t i = 0; i < options.servers; ++i) run.daemon("server", [this] { serve(true); });
  if (options.takes_messages) run.daemon("monitor", [this] { serve(false); });
}

void Machine::add_device(std::uint64_t bytes, bool synchronous) {
  std::size_t i = device_count_++;
  devices_[i] = std::make_unique<os::SimDevice>(bytes);
  std::byte key[codec::Sealer::kKeyBytes] = {std::byte(i + 1)};
  areas_[i] = space_.devices().add_area(*devices_[i], 0, synchronous ? nullptr : key);
  devices_[i]->set_synchronous(synchronous);
  MUST(areas_[i] < swap::kMaxAreas);
}

void Machine::swap_on() { add_device(MachineOptions{}.device_bytes, false); }

void Machine::begin_failures(const MachineOptions& options) {
  for (auto& device : devices_) {
    if (device) device->set_faults(options.device_faults);
  }
  sim_.interfere(options.interference, 1);
  arena().set_failing(options.failing_memory);
}

void Machine::end_failures() { begin_failures({}); }

void Machine::settle_writes() { space_.finish_writes(1'000'000'000); }

Machine::~Machine() = default;

vm::Worker& Machine::worker() {
  vm::Worker& worker = workers_[std::min(sched::scheduler().current_task(), kTasks)];
  MUST(worker.page != nullptr);
  return worker;
}

void Machine::serve(bool faults) {
  while (!Run::stopping()) {
    sim_.wait_message(-1);
    os::Message message;
    while (space_.take_message(worker(), &message)) {
      if (faults) {
        space_.handle_fault(message.range.begin, message.write, worker());
      } else {
        worker().put_aside(message.range.begin, message.write);
      }
    }
    space_.handle_pending(worker());
  }
}

void Machine::on_fault(PageIndex page, bool write) {
  if (!space_.handle_fault(page, write, worker())) fail("a worker with devices could not serve a fault");
  space_.handle_pending(worker());
}

void Machine::on_fork(int child, bool, vm::Worker& worker) {
  space_.populate_child(child, worker);
  sync::mark("the child is filled");
  sim_.child_close(child);
}

bool Machine::keep_going() {
  sched::Quiet quiet;
  if (!counted_)
    group_.set_usage(sim_.resident_pages() + sim_.populated_frames() + space_.zswap().pool().held_pages());
  return true;
}

PageRange Machine::map(std::uint64_t pages, std::uint64_t at) {
  PageRange range{kBase + at, kBase + at + pages};
  sim_.map(range);
  vm::Space::Adopted adopted = space_.adopt(range, worker());
  MUST(adopted == vm::Space::Adopted::kYes);
  return range;
}

memgroup::AccountId Machine::group_with(PageRange range, const memgroup::Limits& limits) {
  memgroup::AccountId id = group_.accounts().open(memgroup::kProcess, limits);
  MUST(id != memgroup::kProcess && space_.give_to(range, id));
  return id;
}

void Machine::recompress() {
  constexpr codec::Choice kDense{codec::Kind::kZstd, 1};
  {
    sched::Quiet quiet;
    std::size_t bytes = codec::Codec::workspace_bytes(kDense);
    MUST(dense_.init(kDense, arena().allocate(bytes), bytes));
    space_.set_recompress_share(100);
    space_.set_recompress_turn(1'000'000);
  }
  worker().store.dense = &dense_;
  sync::sleep_ns(1'000'000);  // since the last turn
  space_.recompress_some(worker());
}

void Machine::out(PageIndex page, std::uint64_t number, Tier tier) {
  write(page, number);
  page_out({page, page + 1});
  if (tier == Tier::kDevice) {
    MUST(write_back());
    finish_writes();
    MUST(stats_.written_back_pages.load() > 0);
  }
}

void Machine::map_again(PageRange range) {
  sim_.map(range);
  vm::Space::Adopted adopted;
  while ((adopted = space_.adopt(range, worker())) == vm::Space::Adopted::kLater) continue;
  MUST(adopted == vm::Space::Adopted::kYes);
}

void Machine::rest() { MUST(capture_next(space_) > 0); }

void Machine::write(PageIndex page, std::uint64_t number) {
  PageContent bytes = content(number);
  os::Access access = sim_.write(page, 0, bytes.data(), kPageBytes);
  MUST(access == os::Access::kOk);
}

namespace {

std::uint64_t number_of(os::Access access, const PageContent& bytes, PageIndex page) {
  if (access == os::Access::kSegv) return Machine::kNoPage;
  if (access == os::Access::kSigbus) return Machine::kLost;
  bool zero = true;
  for (std::uint64_t word : bytes) zero = zero && word == 0;
  if (zero) return Machine::kZeros;
  std::uint64_t number = bytes[1];
  if (content(number) != bytes) fail("page " + std::to_string(page.value) + " is torn: parts of several");
  return number;
}

}  // namespace

std::uint64_t Machine::read(PageIndex page) {
  PageContent bytes;
  os::Access access = sim_.read(page, 0, bytes.data(), kPageBytes);
  return number_of(access, bytes, page);
}

int Machine::fork() {
  int child;
  sim_.run(sim_.begin_fork(&child));
  return child;
}

std::uint64_t Machine::child_read(int child, PageIndex page) {
  PageContent bytes;
  os::Access access = sim_.child_read(child, page, bytes.data());
  return number_of(access, bytes, page);
}

void Machine::page_out(PageRange range) {
  space_.page_out(range, worker());
  space_.handle_pending(worker());
}

bool Machine::clone(PageRange from, PageIndex to) {
  using Cloned = vm::Space::Cloned;
  PageIndex done = from.begin;
  for (int tries = 0; tries < 4; ++tries) {
    Cloned cloned = space_.clone(from, to, done, worker());
    space_.handle_pending(worker());
    if (cloned == Cloned::kAll || cloned == Cloned::kRefused) return cloned == Cloned::kAll;
  }
  return false;
}

bool Machine::write_back() { return space_.write_back(vm::Space::WritebackNeed::kLastResort, worker()); }

vm::Space::SwapOff Machine::swap_off(std::size_t device) {
  constexpr std::int64_t kBetweenSlicesNs = 300'000'000;  // it waits for room for a second
  bool goes_on = false;
  for (;;) {
    vm::Space::SwapOff result = space_.swap_off(areas_[device], goes_on, worker());
    space_.handle_pending(worker());
    if (result != vm::Space::SwapOff::kGoesOn) return result;
    goes_on = true;
    sync::sleep_ns(kBetweenSlicesNs);
  }
}

void Machine::finish_writes() {
  MUST(space_.finish_writes(1'000'000'000));
  space_.zswap().validate();
  space_.zswap().pool().validate();
}

void Machine::take_messages() {
  os::Message message;
  while (sim_.queued_messages() > 0) MUST(!space_.take_message(worker(), &message));
}

void Machine::check() {
  finish_writes();
  Text problem = space_.accounts();
  if (!problem.view().empty()) fail("the accounts do not close: " + std::string(problem.view()));
  for (const os::SimMapping& mapping : sim_.mappings()) {
    os::ChangeId change = sim_.begin_unmap(mapping.range);
    while (!sim_.advance(change)) take_messages();
  }
  problem = space_.accounts();
  if (!problem.view().empty()) fail("the accounts do not close at the end: " + std::string(problem.view()));
  MUST(slots(space_).in_use() == 0);
  MUST(space_.frames().owned_frames() == 0);
  MUST(space_.zswap().pool().pages() == 0);
  MUST(space_.devices().records() == 0);
  MUST(space_.frames().populated_frames() == sim_.populated_frames());
}

}  // namespace coldpress::testing
