#include "space_world.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <sstream>

#include "support/space_access.h"

namespace coldpress::testing {

World::World(const WorldOptions& options)
    : random_(options.seed),
      trace_(options.trace),
      counted_(options.counted),
      devices_lose_(options.device_faults.read_error + options.device_faults.torn_write +
                        options.device_faults.lost_write >
                    0),
      pages_(options.pages),
      sim_({.frame_count = options.frame_count, .patience = 3, .late_forks = options.late_forks}),
      devices_{os::SimDevice(options.device_bytes, options.seed),
               os::SimDevice(options.device_bytes, ~options.seed)} {
  group_.init(options.limit_pages, &stats_);
  vm::SpaceOptions space{.pool_bytes = 64 << 20, .max_slots = 1 << 16, .max_leaves = 64, .counted = counted_};
  worker_.background = options.seed % 2 == 0;
  if (!space_.init(memory_, sim_, group_, space) || !make_worker(memory_, options.codec, worker_)) {
    fail("no memory for the engine");
  }
  space_.set_fork_handler(this);
  space_.set_usage_source(this);
  sim_.set_fault_handler(this);
  sim_.interfere(options.interference, options.seed);
  frames_differ_ = options.interference.populate != 0;
  if (options.device_bytes > 0) {
    add_device(0);
    add_device(1);
    for (os::SimDevice& device : devices_) device.set_faults(options.device_faults);
  }
  memory_.fail_calls(options.fail_memory_at, options.fail_memory_times);
}

void World::add_device(std::size_t number) {
  static constexpr std::byte kKey[codec::Sealer::kKeyBytes] = {};
  areas_[number] = space_.devices().add_area(devices_[number], static_cast<int>(number), kKey);
  if (areas_[number] == swap::kMaxAreas) fail("no room for a swap area");
}

void World::note(const std::string& text) {
  if (trace_) std::fprintf(stderr, "  %s\n", text.c_str());
  log_.push_back(text);
}

std::string World::last_operations() const {
  std::ostringstream out;
  std::size_t from = log_.size() > 40 ? log_.size() - 40 : 0;
  for (std::size_t i = from; i < log_.size(); ++i) out << "  " << log_[i] << "\n";
  return out.str();
}

void World::fail(const std::string& what) {
  if (!broken_) ADD_FAILURE() << what;
  broken_ = true;
}

void World::refresh_usage() {
  if (usage_kept_ || counted_) return;
  group_.set_usage(sim_.resident_pages() + sim_.populated_frames() + space_.zswap().pool().held_pages());
}

void World::on_fault(PageIndex page, bool write) {
  refresh_usage();
  keep_going_left_ = steps_of_faults_;
  space_.handle_fault(page, write, worker_);
  space_.handle_pending(worker_);
  // What a second server would do meanwhile.
  if (random_.one_in(4)) take_one_message();
}

bool World::keep_going() {
  refresh_usage();
  return keep_going_left_ > 0 && keep_going_left_-- > 0;
}

bool World::take_one_message() {
  os::Message fault;
  std::size_t before = sim_.queued_messages();
  if (space_.take_message(worker_, &fault)) fail("a fault message without a sleeping thread");
  return before > 0;
}

void World::on_fork(int child, bool calm, vm::Worker& worker) {
  for (Change& change : changes_) {
    if (change.child != child) continue;
    // Some early faults of the child, then all the rest.
    for (const PageRange& range : change.mapped) {
      if (calm && random_.one_in(2))
        space_.child_fault(child, range.begin + random_.below(range.pages()), worker);
    }
  }
  space_.populate_child(child, worker);
  sim_.child_close(child);
}

bool World::matches(const std::byte* bytes, ReferencePage* reference, PageIndex page, const char* who) {
  static constexpr PageContent kZeros{};
  const PageContent& expected = reference == nullptr ? kZeros : reference->content;
  if (std::memcmp(bytes, expected.data(), kPageBytes) == 0) return true;
  bool zero = std::memcmp(bytes, kZeros.data(), kPageBytes) == 0;
  if (reference != nullptr && reference->maybe_zero && zero) {
    reference->content = kZeros;
    return true;
  }
  std::size_t at = 0;
  while (bytes[at] == reinterpret_cast<const std::byte*>(expected.data())[at]) ++at;
  std::ostringstream text;
  text << who << ": page " << page.value << (zero ? " reads zero" : " reads wrong bytes") << ", first at "
       << at << " (word " << *reinterpret_cast<const std::uint64_t*>(bytes + at / 8 * 8) << " for "
       << expected[at / 8] << "), page word " << std::hex << space_.pages().get(page).raw();
  fail(text.str());
  return false;
}

// Whether the page could not be given because of its device, which the engine has counted. It stays so.
bool World::lost_by_device(os::Access access, ReferencePage* reference) {
  bool counted = stats_.swap_read_fail.load() + stats_.decompress_fail.load() > 0;
  if (access != os::Access::kSigbus || !devices_lose_ || !counted || reference == nullptr) return false;
  reference->corrupt = true;
  return true;
}

bool World::check_page(PageIndex page) {
  PageContent actual;
  auto found = reference_.find(page.value);
  ReferencePage* reference = found == reference_.end() ? nullptr : &found->second;
  os::Access access = sim_.read(page, 0, actual.data(), kPageBytes);
  bool corrupt = reference != nullptr && reference->corrupt;
  if ((access == os::Access::kSigbus && corrupt) || lost_by_device(access, reference)) return true;
  // A damaged page of a range that is being dropped may be gone already.
  if (access != os::Access::kOk || (corrupt && !reference->maybe_zero)) {
    fail("page " + std::to_string(page.value) +
         (corrupt ? ": damaged, but readable" : ": not readable, but not damaged"));
    return false;
  }
  if (corrupt) {
    reference->corrupt = false;
    reference->content = {};
  }
  return matches(reinterpret_cast<std::byte*>(actual.data()), reference, page, "the program");
}

void World::verify_everything() {
  for (const os::SimMapping& mapping : sim_.mappings()) {
    for (PageIndex page = mapping.range.begin; page < mapping.range.end && !broken_; page = page + 1) {
      check_page(page);
    }
  }
}

// Those that the engine has put off are settled by the next service of whatever fault.
void World::settle_moves() { space_.handle_fault(kBase + 2 * kPages, false, worker_); }

void World::check_structure() {
  if (!changes_.empty() || broken_) return;
  settle_moves();
  std::uint64_t compressed = 0, same = 0, in_frames = 0, on_devices = 0, lost = 0;
  std::map<std::uint32_t, std::uint32_t> named;  // slots, by how many page words
  for (std::uint64_t i = 0; i < kPages; ++i) {
    PageIndex page = kBase + i;
    auto owner = owner_of(space_, page);
    if (!owner) continue;
    if (sim_.present(page)) fail("page " + std::to_string(page.value) + " is out and resident");
    if (!sim_.mapped({page, page + 1})) fail("page " + std::to_string(page.value) + " is out and unmapped");
    std::uint32_t slot = space_.pages().get(page).entry().slot.value;
    if (++named[slot] > 1) continue;
    compressed += owner->state == swap::State::kZswap ? 1 : 0;
    same += owner->state == swap::State::kSame ? 1 : 0;
    in_frames += owner->state == swap::State::kFrame ? 1 : 0;
    on_devices += owner->state == swap::State::kDevice ? 1 : 0;
    lost += owner->state == swap::State::kLost ? 1 : 0;
  }
  for (std::uint64_t i = 0; i < kPages; ++i) {
    auto owner = owner_of(space_, kBase + i);
    if (!owner) continue;
    EXPECT_EQ(owner->count, named[space_.pages().get(kBase + i).entry().slot.value]);
  }
  EXPECT_EQ(stats_.stored_pages.load(), compressed);
  EXPECT_EQ(stats_.same_filled_pages.load(), same);
  EXPECT_EQ(space_.frames().owned_frames(), in_frames);
  EXPECT_EQ(slots(space_).in_use(), compressed + same + in_frames + on_devices + lost);
  EXPECT_TRUE(lost == 0 || devices_lose_);
  EXPECT_GE(space_.devices().records(), on_devices);
  if (space_.devices().under_way_bytes() == 0) {
    EXPECT_EQ(space_.devices().records(), on_devices);
  }
  space_.devices().validate();
  EXPECT_EQ(space_.zswap().pool().stats().objects, compressed + space_.zswap().kept_copies());
  if (!frames_differ_) {
    EXPECT_EQ(space_.frames().populated_frames(), sim_.populated_frames());
  }
  EXPECT_LE(space_.frames().spent_frames() + in_frames, space_.frames().populated_frames());
  space_.zswap().pool().validate();
  EXPECT_EQ(space_.accounts().view(), "");
  if (::testing::Test::HasFailure()) fail("accounts do not close");
}

World::~World() {
  if (broken_ || ::testing::Test::HasFailure()) return;
  finish_changes();
  settle_moves();
  EXPECT_EQ(space_.accounts().view(), "");
}

void World::close() {
  finish_changes();
  for (PageIndex page : pinned_) sim_.set_page_pinned(page, false);
  for (const os::SimMapping& mapping : sim_.mappings()) {
    track({sim_.begin_unmap(mapping.range), Kind::kUnmap, mapping.range, {}});
    finish_changes();
  }
  for (os::SimDevice& device : devices_) device.set_faults({});
  EXPECT_TRUE(space_.finish_writes(1'000'000'000));
  check_structure();
  EXPECT_EQ(space_.devices().records(), 0u);
  EXPECT_EQ(space_.devices().stored_bytes(), 0u);
  EXPECT_EQ(stats_.stored_pages.load(), 0u);
  EXPECT_EQ(stats_.stored_bytes.load(), 0u);
  EXPECT_EQ(stats_.same_filled_pages.load(), 0u);
  EXPECT_EQ(space_.zswap().pool().pages(), 0u);
  space_.trim_pool(true);
  EXPECT_EQ(space_.zswap().pool().kept_pages(), 0u);
  EXPECT_EQ(space_.frames().owned_frames(), 0u);
  EXPECT_EQ(slots(space_).in_use(), 0u);
  if (!counted_) return;
  EXPECT_EQ(group_.usage(), static_cast<std::int64_t>(space_.frames().populated_frames()));
  for (memgroup::AccountId id : groups_) EXPECT_FALSE(group_.accounts()[id].charged());
}

}  // namespace coldpress::testing
