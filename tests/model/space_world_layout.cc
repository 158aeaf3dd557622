// Operations on mappings. Each starts a change of the simulated machine that may stay under way, stage by
// stage, while others run.
#include <algorithm>

#include "space_world.h"
#include "support/space_access.h"

namespace coldpress::testing {
namespace {

std::string text_of(PageRange range) {
  return "[" + std::to_string(range.begin.value) + ", " + std::to_string(range.end.value) + ")";
}

}  // namespace

const std::vector<World::Operation>& World::operations() {
  static const std::vector<Operation> kAll = {
      {"map", &World::map_some},
      {"write", &World::write_some},
      {"write_word", &World::write_word},
      {"read", &World::read_some},
      {"pin", &World::pin_some},
      {"corrupt", &World::corrupt_some},
      {"reclaim", &World::reclaim_some},
      {"page_out", &World::page_out_some},
      {"clone", &World::clone_some},
      {"page_in", &World::page_in_some},
      {"adopt", &World::adopt_some},
      {"release", &World::release_some},
      {"protect", &World::protect_some},
      {"keep_resident", &World::keep_resident_some},
      {"limit", &World::change_limit},
      {"write_back", &World::write_back_some},
      {"swap_off", &World::swap_off_some},
      {"device", &World::change_device},
      {"group", &World::group_some},
      {"unmap", &World::unmap_some},
      {"dontneed", &World::dontneed_some},
      {"free", &World::free_some},
      {"take_lazy", &World::take_lazy_some},
      {"remap", &World::remap_some},
      {"grow", &World::grow_some},
      {"fork", &World::fork_some},
      {"storm", &World::storm},
      {"interference", &World::change_interference},
      {"step", &World::step_some},
  };
  return kAll;
}

void World::forget_pages(PageRange range) {
  reference_.erase(reference_.lower_bound(range.begin.value), reference_.lower_bound(range.end.value));
  std::erase_if(pinned_, [&](PageIndex page) { return range.contains(page); });
}

// A change that is done at once, or one more under way; then some steps.
void World::track(Change change) {
  changes_.push_back(std::move(change));
  if (changes_.back().id == 0) {
    settle(changes_.back());
    changes_.pop_back();
    return;
  }
  if (storming_) return;
  if (random_.one_in(2)) return finish_changes();
  for (std::uint64_t i = random_.below(3); i > 0; --i) step_some();
}

void World::settle(Change& change) {
  if (change.kind == Kind::kFork) check_child(change);
  if (change.kind != Kind::kRemove) return;
  for (PageIndex page = change.range.begin; page < change.range.end; page = page + 1) {
    auto found = reference_.find(page.value);
    if (found == reference_.end()) continue;
    ReferencePage& reference = found->second;
    if (!reference.written_in_gap) {
      reference = {};
    } else {
      // Written while the drop was still to come: either is right, and the next read decides.
      PageContent actual;
      if (sim_.read(page, 0, actual.data(), kPageBytes) != os::Access::kOk) fail("a written page is lost");
      matches(reinterpret_cast<std::byte*>(actual.data()), &reference, page, "after MADV_DONTNEED");
    }
    reference.maybe_zero = reference.written_in_gap = false;
  }
}

bool World::step_change(std::size_t index) {
  if (!sim_.advance(changes_[index].id)) return false;
  Change done = std::move(changes_[index]);
  changes_.erase(changes_.begin() + static_cast<std::ptrdiff_t>(index));
  note("done: " + std::to_string(done.id));
  settle(done);
  return true;
}

void World::step_some() {
  if (random_.one_in(2)) take_one_message();
  if (!changes_.empty()) step_change(random_.below(changes_.size()));
}

void World::finish_changes() {
  for (int rounds = 0; !changes_.empty() && !broken_; ++rounds) {
    if (rounds > 10000) return fail("a layout change does not end");
    take_one_message();
    for (std::size_t i = changes_.size(); i-- > 0;) step_change(i);
  }
}

void World::unmap_some() {
  PageRange range = pick(150);
  if (range.empty()) return;
  forget_pages(range);
  os::ChangeId id = sim_.begin_unmap(range);
  note("unmap " + text_of(range) + " as " + std::to_string(id));
  track({id, Kind::kUnmap, range, {}});
}

void World::dontneed_some() {
  PageRange range = pick(100);
  if (range.empty()) return;
  std::erase_if(pinned_, [&](PageIndex page) { return range.contains(page); });
  for (PageIndex page = range.begin; page < range.end; page = page + 1) {
    sim_.set_page_pinned(page, false);
    auto found = reference_.find(page.value);
    if (found == reference_.end()) continue;
    found->second.maybe_zero = true;
    found->second.written_in_gap = false;
  }
  os::ChangeId id = sim_.begin_remove(range);
  note("dontneed " + text_of(range) + " as " + std::to_string(id));
  track({id, Kind::kRemove, range, {}});
}

void World::free_some() {
  PageRange range = pick(100);
  if (range.empty()) return;
  for (PageIndex page = range.begin; page < range.end; page = page + 1) {
    auto found = reference_.find(page.value);
    if (found != reference_.end()) found->second.maybe_zero = true;
  }
  os::ChangeId id = sim_.begin_remove(range, true);
  note("free " + text_of(range) + " as " + std::to_string(id));
  track({id, Kind::kFree, range, {}});
}

void World::take_lazy_some() {
  note("take lazy pages");
  for (std::uint64_t i = 0; i < kPages; ++i) {
    if (random_.one_in(3)) sim_.take_lazy(kBase + i);
  }
  for (std::uint32_t i = 0; i < sim_.frame_count(); ++i) {
    if (random_.one_in(3) && sim_.take_lazy_frame({i})) frames_differ_ = true;
  }
}

void World::remap_some() {
  PageRange from = pick(120);
  if (from.empty()) return;
  PageIndex to = pick_free(from.pages());
  if (to.value == 0) return;
  PageRange target{to, to + from.pages()};
  // The child of a fork at the same time could not be told where a kept source's pages were (vm/fork.cc).
  bool keep = random_.one_in(3) && !forking();
  Reference moved;
  for (PageIndex page = from.begin; page < from.end; page = page + 1) {
    auto found = reference_.find(page.value);
    if (found != reference_.end()) moved[to.value + (page - from.begin)] = std::move(found->second);
  }
  for (PageIndex& page : pinned_) {
    if (from.contains(page)) page = to + (page - from.begin);
  }
  forget_pages(from);
  reference_.merge(moved);
  os::ChangeId id = sim_.begin_remap(from, to, keep);
  note("remap " + text_of(from) + " to " + text_of(target) + (keep ? " kept" : "") + " as " +
       std::to_string(id));
  track({id, Kind::kRemap, from, target, keep});
}

// In place, which no message tells. Not over what a change under way has left: docs/bugs.md, "Known".
void World::grow_some() {
  PageRange range = pick(1, false, true);
  if (range.empty()) return;
  PageRange room{range.end, range.end + 1 + random_.below(30)};
  if (kBase + pages_ < room.end || sim_.mapped(room)) return;
  for (const Change& change : changes_) {
    if (change.kind == Kind::kFork) return;  // its message tells what the child has; this would be unknown
    if (!intersect(change.range, room).empty() || !intersect(change.target, room).empty()) return;
  }
  note("grow " + text_of(range) + " by " + std::to_string(room.pages()));
  sim_.grow(range.begin, room.pages());
}

bool World::forking() const {
  return std::any_of(changes_.begin(), changes_.end(), [](const Change& c) { return c.kind == Kind::kFork; });
}

void World::fork_some() {
  for (const Change& change : changes_) {
    if (storming_ && change.keeps_source) return;
  }
  int child = -1;
  Change change{sim_.begin_fork(&child), Kind::kFork, {}, {}, false, child, reference_, {}};
  for (const os::SimMapping& mapping : sim_.mappings()) change.mapped.push_back(mapping.range);
  note("fork as " + std::to_string(change.id));
  track(std::move(change));
}

// Many changes at once, nobody touching memory meanwhile: an access would wait for all of them. Their
// messages come in any order, and addresses are taken again before it is known who left them.
void World::storm() {
  finish_changes();
  note("storm");
  space_.page_out({kBase, kBase + kPages}, worker_);
  space_.handle_pending(worker_);
  storming_ = true;
  for (std::uint64_t i = 2 + random_.below(6); i > 0 && !broken_; --i) {
    switch (random_.below(8)) {
      case 0:
        unmap_some();
        break;
      case 1:
        map_range_unwritten();
        break;
      case 2:
        random_.one_in(4) ? fork_some() : grow_some();
        break;
      default:
        remap_some();
    }
    for (std::uint64_t steps = random_.below(6); steps > 0; --steps) step_some();
  }
  storming_ = false;
  finish_changes();
  if (!broken_) verify_everything();
}

void World::check_child(Change& change) {
  for (const PageRange& range : change.mapped) {
    for (PageIndex page = range.begin; page < range.end && !broken_; page = page + 1) {
      PageContent actual;
      auto found = change.snapshot.find(page.value);
      ReferencePage* reference = found == change.snapshot.end() ? nullptr : &found->second;
      os::Access access = sim_.child_read(change.child, page, actual.data());
      bool damaged = reference != nullptr && reference->corrupt;
      if ((access == os::Access::kSigbus && damaged) || lost_by_device(access, reference)) continue;
      if (access != os::Access::kOk || (damaged && !reference->maybe_zero)) {
        return fail("page " + std::to_string(page.value) + " of the child: " +
                    (damaged ? "damaged, but readable" : "not readable, but not damaged"));
      }
      if (damaged) reference->content = {};
      matches(reinterpret_cast<std::byte*>(actual.data()), reference, page, "the child");
    }
  }
  sim_.child_exit(change.child);
  if (random_.one_in(2)) sim_.unshare_frames();
}

void World::change_interference() {
  os::SimInterference how;
  auto one_in = [&](std::uint64_t most) { return 2 + static_cast<std::uint32_t>(random_.below(most)); };
  if (random_.one_in(2)) how.changing = one_in(20);
  if (random_.one_in(2)) how.shorten = one_in(5);
  if (random_.one_in(2)) how.keep_frame = one_in(10);
  if (random_.one_in(3)) how.no_memory = one_in(20);
  if (random_.one_in(3)) how.busy = one_in(20);
  if (random_.one_in(3)) how.populate = one_in(20);
  if (random_.one_in(3)) how.refuse_register = one_in(5);
  if (random_.one_in(3)) how.keep_registered = one_in(5);
  frames_differ_ = frames_differ_ || how.populate != 0;
  note("interference");
  sim_.interfere(how, random_.next());
}

// Only what loses nothing: lost bytes have a test of their own.
void World::change_device() {
  os::SimDevice::Faults faults;
  if (random_.one_in(2)) faults.write_error = 1 + static_cast<std::uint32_t>(random_.below(4));
  if (random_.one_in(4)) faults.no_space = 1 + static_cast<std::uint32_t>(random_.below(4));
  if (random_.one_in(2)) faults.late = 1 + static_cast<std::uint32_t>(random_.below(3));
  devices_[random_.below(2)].set_faults(faults);
}

}  // namespace coldpress::testing
