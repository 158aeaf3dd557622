// Operations on pages: what the program reads and writes, and what the engine does on its own.
#include <cstring>

#include "space_world.h"
#include "support/space_access.h"

namespace coldpress::testing {
namespace {

std::string text_of(PageRange range) {
  return "[" + std::to_string(range.begin.value) + ", " + std::to_string(range.end.value) + ")";
}

}  // namespace

bool World::busy(PageRange range) const {
  for (const Change& change : changes_) {
    bool left = change.kind == Kind::kUnmap || (change.kind == Kind::kRemap && !change.keeps_source);
    if (!left && !intersect(change.range, range).empty()) return true;
    if (!intersect(change.target, range).empty()) return true;
  }
  return false;
}

bool World::being_dropped(PageIndex page) const {
  for (const Change& change : changes_) {
    bool drops = change.kind == Kind::kRemove || change.kind == Kind::kFree;
    if (drops && change.range.contains(page)) return true;
  }
  return false;
}

PageRange World::pick(std::uint64_t pages, bool need_writable, bool whole) {
  auto mappings = sim_.mappings();
  for (int attempt = 0; attempt < 8 && !mappings.empty(); ++attempt) {
    const os::SimMapping& mapping = mappings[random_.below(mappings.size())];
    PageRange range = mapping.range;
    if (!whole) {
      range.begin = range.begin + random_.below(range.pages());
      std::uint64_t length = 1 + random_.below(pages);
      if (length < range.pages()) range.end = range.begin + length;
    }
    if (!busy(range) && (mapping.writable || !need_writable)) return range;
  }
  return {};
}

// Free for the program: what is unmapped, even if its message is still to come.
PageIndex World::pick_free(std::uint64_t pages) {
  for (int attempt = 0; attempt < 20; ++attempt) {
    PageIndex at = kBase + random_.below(pages_ > pages ? pages_ - pages : 1);
    PageRange range{at, at + pages};
    if (sim_.mapped(range)) continue;
    return at;
  }
  return {};
}

// Whether the range can have shown damage, or none. A damaged page that was given up may be gone or not.
bool World::damage_fits(PageRange range, bool shown) {
  bool surely = false, perhaps = false;
  for (PageIndex page = range.begin; page < range.end; page = page + 1) {
    auto found = reference_.find(page.value);
    if (found == reference_.end() || !found->second.corrupt) continue;
    perhaps = true;
    surely = surely || !found->second.maybe_zero;
  }
  return shown ? perhaps || devices_lose_ : !surely;
}

// kLater is an answer too: changes may be under way. What the machine has refused is tried again.
void World::adopt(PageRange range) {
  bool calm = !sim_.changing();
  std::uint64_t refused = sim_.refused_registrations() + memory_.failed_calls();
  vm::Space::Adopted adopted = space_.adopt(range, worker_);
  space_.handle_pending(worker_);
  if (sim_.refused_registrations() + memory_.failed_calls() != refused) return adopt(range);
  if (adopted == vm::Space::Adopted::kRefused) fail("a mapped range was refused");
  if (calm && adopted != vm::Space::Adopted::kYes) fail("a range was not adopted, without a reason");
}

void World::map_range(PageRange range, bool adopt) {
  sim_.map(range);
  forget_pages(range);
  if (adopt) this->adopt(range);
}

void World::map_range_unwritten() {
  std::uint64_t pages = 1 + random_.below(60);
  PageIndex at = pick_free(pages);
  if (at.value == 0) return;
  if (counted_ && sim_.changing()) return;
  note("map " + text_of({at, at + pages}) + " unwritten");
  map_range({at, at + pages}, counted_ || random_.one_in(2));
}

void World::map_some() {
  std::uint64_t pages = 1 + random_.below(random_.one_in(4) ? 300 : 40);
  PageIndex at = pick_free(pages);
  if (at.value == 0) return;
  PageRange range{at, at + pages};
  if (counted_ && sim_.changing()) return;
  bool adopt = counted_ || random_.one_in(2);
  note("map " + text_of(range) + (adopt ? " adopted" : ""));
  map_range(range, adopt);
  std::uint64_t fill = random_.below(pages + 1);
  for (std::uint64_t i = 0; i < fill && !broken_; ++i) {
    write_page(at + i, make_content(random_kind(random_), next_number_++));
  }
}

bool World::clone(PageRange from, PageIndex to) {
  using Cloned = vm::Space::Cloned;
  PageIndex done = from.begin;
  for (int tries = 0; tries < 16; ++tries) {
    Cloned cloned = space_.clone(from, to, done, worker_);
    space_.handle_pending(worker_);
    if (cloned == Cloned::kAll) return true;
    if (cloned == Cloned::kRefused) return false;
    PageRange shared[vm::Space::kMaxShared];
    std::size_t count = space_.take_shared(shared);
    for (std::size_t i = 0; i < count; ++i) sim_.make_own(shared[i]);
  }
  return false;
}

// Where the engine refuses (changes under way, pinned or read-only pages), nothing must have happened.
void World::clone_some() {
  PageRange from = pick(60);
  if (from.empty() || !space_.managed(from)) return;
  PageIndex to = pick_free(from.pages());
  if (to.value == 0) return;
  PageRange target{to, to + from.pages()};
  map_range(target, false);
  if (space_.adopt(target, worker_) != vm::Space::Adopted::kYes) return;
  keep_going_left_ = 64;
  bool cloned = clone(from, to);
  note("clone " + text_of(from) + " to " + text_of(target) + (cloned ? "" : ": refused"));
  if (!cloned) return track({sim_.begin_unmap(target), Kind::kUnmap, target, {}});
  ++clones_;
  for (PageIndex page = from.begin; page < from.end; page = page + 1) {
    auto found = reference_.find(page.value);
    if (found == reference_.end()) continue;
    ReferencePage& copy = reference_[to.value + (page - from.begin)] = found->second;
    copy.written_in_gap = false;
  }
}

bool World::write_page(PageIndex page, const PageContent& content) {
  ReferencePage& reference = reference_[page.value];
  os::Access access = sim_.write(page, 0, content.data(), kPageBytes);
  if ((access == os::Access::kSigbus && reference.corrupt) || lost_by_device(access, &reference)) return true;
  if (access != os::Access::kOk || (reference.corrupt && !reference.maybe_zero)) {
    fail("page " + std::to_string(page.value) + ": write went " + (reference.corrupt ? "well" : "wrong"));
    return false;
  }
  reference.corrupt = false;
  reference.content = content;
  reference.written_in_gap = true;
  reference.maybe_zero = being_dropped(page);
  return true;
}

void World::write_some() {
  PageRange range = pick(random_.one_in(3) ? 100 : 6, true);
  if (range.empty()) return;
  note("write " + text_of(range));
  for (PageIndex page = range.begin; page < range.end && !broken_; page = page + 1) {
    write_page(page, make_content(random_kind(random_), next_number_++));
  }
}

// A write of a part of a page must keep the rest, wherever it is.
void World::write_word() {
  auto mappings = sim_.mappings();
  if (mappings.empty()) return;
  const os::SimMapping& mapping = mappings[random_.below(mappings.size())];
  if (!mapping.writable) return;
  PageIndex page = mapping.range.begin + random_.below(mapping.range.pages());
  std::size_t index = random_.below(kPageWords);
  std::uint64_t value = random_.next();
  note("write word " + std::to_string(page.value));
  ReferencePage& reference = reference_[page.value];
  if (reference.maybe_zero || reference.corrupt || being_dropped(page)) {
    check_page(page);
    // Only a whole page says which of two contents it was written over.
    write_page(page, make_content(ContentKind::kCompressible, next_number_++));
    return;
  }
  os::Access access = sim_.write(page, index * 8, &value, sizeof value);
  if (lost_by_device(access, &reference)) return;
  if (access != os::Access::kOk) {
    return fail("page " + std::to_string(page.value) + ": not writable");
  }
  reference.content[index] = value;
}

void World::read_some() {
  auto mappings = sim_.mappings();
  if (mappings.empty()) return;
  const os::SimMapping& mapping = mappings[random_.below(mappings.size())];
  PageIndex page = mapping.range.begin + random_.below(mapping.range.pages());
  note("read from " + std::to_string(page.value));
  for (std::uint64_t i = 0; i < 20 && page < mapping.range.end && !broken_; ++i, page = page + 1) {
    check_page(page);
  }
}

void World::pin_some() {
  if (!pinned_.empty() && random_.one_in(2)) {
    for (PageIndex page : pinned_) sim_.set_page_pinned(page, false);
    pinned_.clear();
    return note("unpin all");
  }
  PageRange range = pick(8, true);
  if (range.empty()) return;
  note("pin " + text_of(range));
  for (PageIndex page = range.begin; page < range.end; page = page + 1) {
    if (!check_page(page)) return;
    sim_.set_page_pinned(page, true);
    pinned_.push_back(page);
    // Pinning is for writing here: the machine can not take the page any more.
    auto found = reference_.find(page.value);
    if (found != reference_.end() && !sim_.changing()) check_page(page);
  }
}

bool World::corrupt_one(PageIndex page) {
  // A copy that was packed before would be good.
  if (space_.devices().under_way_bytes() > 0) return false;
  auto owner = owner_of(space_, page);
  if (!owner || owner->count > 1 || !corrupt_page(space_, page)) return false;
  reference_[page.value].corrupt = true;
  return true;
}

void World::corrupt_some() {
  if (!changes_.empty()) return;
  PageRange range = pick(20);
  for (PageIndex page = range.begin; page < range.end; page = page + 1) {
    auto found = reference_.find(page.value);
    if (found == reference_.end() || found->second.corrupt || found->second.maybe_zero) continue;
    if (!corrupt_one(page)) continue;
    return note("corrupt " + std::to_string(page.value));
  }
}

void World::reclaim_some() {
  refresh_usage();
  std::int64_t target = group_.usage() - static_cast<std::int64_t>(random_.below(300));
  note("reclaim to " + std::to_string(target));
  keep_going_left_ = 100;
  space_.reclaim_to(target > 0 ? target : 0, worker_);
  space_.handle_pending(worker_);
}

void World::page_out_some() {
  PageRange range = pick(200);
  if (range.empty()) return;
  note("page out " + text_of(range));
  space_.page_out(range, worker_);
  space_.handle_pending(worker_);
}

void World::page_in_some() {
  PageRange range = pick(100);
  if (range.empty()) return;
  note("page in " + text_of(range));
  refresh_usage();
  keep_going_left_ = 64;
  bool good = space_.page_in(range, worker_);
  space_.handle_pending(worker_);
  if (!damage_fits(range, !good))
    fail(good ? "page_in() did not see the damage" : "page_in() saw damage that is not");
}

// Three groups, one within another, with limits that come and go.
void World::group_some() {
  if (!counted_) return;
  memgroup::Accounts& accounts = group_.accounts();
  if (groups_.empty()) {
    for (int i = 0; i < 3; ++i) {
      groups_.push_back(accounts.open(i == 1 ? groups_[0] : memgroup::kProcess, {}));
      if (groups_.back() != memgroup::kProcess) continue;
      if (memory_.failed_calls() == 0) return fail("no account");
      return groups_.pop_back();
    }
  }
  memgroup::AccountId id = groups_[random_.below(groups_.size())];
  auto most = [&](std::uint64_t usual) {
    return random_.one_in(2) ? memgroup::kNoLimit : static_cast<std::int64_t>(random_.below(usual));
  };
  memgroup::Limits limits{most(400), most(300), most(200), most(200000), !random_.one_in(4)};
  PageRange range = pick(200);
  keep_going_left_ = 100;
  switch (random_.below(4)) {
    case 0:
      note("limits of group " + std::to_string(id));
      accounts.set_limits(id, limits);
      break;
    case 1:
      note("reclaim of group " + std::to_string(id));
      space_.reclaim_group(id, static_cast<std::int64_t>(random_.below(200)), worker_);
      break;
    case 2:
      note("watch groups");
      space_.watch_groups(worker_);
      break;
    default:
      if (range.empty()) break;
      note("give " + text_of(range) + " to group " + std::to_string(id));
      if (!space_.give_to(range, id) && memory_.failed_calls() == 0) fail("a range could not be given");
  }
  space_.handle_pending(worker_);
}

void World::adopt_some() {
  if (counted_) return;  // everything is
  PageRange range = pick(1, false, true);
  if (range.empty()) return;
  note("adopt " + text_of(range));
  adopt(range);
}

void World::release_some() {
  if (counted_) return;
  PageRange range = pick(1, false, true);
  if (range.empty()) return;
  note("release " + text_of(range));
  refresh_usage();
  keep_going_left_ = 64;
  bool released = space_.release(range, worker_);
  space_.handle_pending(worker_);
  if (!damage_fits(range, !released))
    fail(released ? "release() did not see the damage" : "release() failed");
}

void World::protect_some() {
  PageRange range = pick(60);
  if (range.empty()) return;
  bool allow = random_.one_in(2);
  note("protect " + text_of(range) + (allow ? " rw" : " r"));
  sim_.protect(range, allow);
}

void World::keep_resident_some() {
  PageRange range = pick(60);
  if (range.empty()) return;
  bool keep = random_.one_in(2);
  note("set_pinned " + text_of(range) + (keep ? " on" : " off"));
  space_.set_pinned(range, keep);
}

void World::change_limit() {
  std::uint64_t limit = 450 + random_.below(1200);
  note("limit " + std::to_string(limit));
  group_.init(limit, &stats_);
}

void World::write_back_some() {
  note("write back");
  refresh_usage();
  keep_going_left_ = 1000;
  if (random_.one_in(2)) space_.tidy_devices(worker_);
  for (std::uint64_t i = random_.below(4); i > 0; --i) {
    space_.write_back(
        random_.one_in(2) ? vm::Space::WritebackNeed::kLastResort : vm::Space::WritebackNeed::kSoon, worker_);
  }
}

vm::Space::SwapOff World::swap_off(std::size_t area) {
  auto answer = vm::Space::SwapOff::kGoesOn;
  for (int tries = 0; tries < 5000 && answer == vm::Space::SwapOff::kGoesOn; ++tries) {
    if (tries > 0) sync::sleep_ns(2'000'000);  // as the monitor does
    allow_steps(1000000);
    answer = space_.swap_off(area, tries > 0, worker_);
  }
  return answer;
}

void World::swap_off_some() {
  std::size_t number = random_.below(2);
  if (areas_[number] == swap::kMaxAreas) return;
  refresh_usage();
  keep_going_left_ = random_.below(2000);
  auto result = space_.swap_off(areas_[number], swapping_off_[number], worker_);
  swapping_off_[number] = result == vm::Space::SwapOff::kGoesOn;
  space_.handle_pending(worker_);
  note("swap off " + std::to_string(number) + ": " + std::to_string(static_cast<int>(result)));
  if (result == vm::Space::SwapOff::kDone) {
    // Nothing there is of use to anybody any more.
    devices_[number].scribble(0, devices_[number].bytes());
    add_device(number);
  }
}

}  // namespace coldpress::testing
