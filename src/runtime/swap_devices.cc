#include "runtime/swap_devices.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/log.h"
#include "os/linux/descriptors.h"
#include "os/linux/process.h"
#include "os/linux/syscalls.h"

namespace coldpress::runtime {
namespace {

constexpr char kFirstFile = 'A', kPin = 'p', kLastPin = 'y', kLast = 'z';
constexpr char kAutomatic[] = "auto";
constexpr std::uint64_t kMinAutomaticBytes = std::uint64_t{16} << 20;

}  // namespace

template <typename Kind, std::size_t kCount>
Kind* SwapDevices::unused(Kind (&devices)[kCount]) {
  for (Kind& device : devices) {
    if (!device.open) return &device;
  }
  return nullptr;
}

template <typename Visit>
void SwapDevices::for_each(Visit visit) {
  for (File& file : files_) {
    if (file.open) visit(file);
  }
  for (Ram& ram : rams_) {
    if (ram.open) visit(ram);
  }
}

Status SwapDevices::open(const Config& config, bool must) {
  sync::MutexLock lock(mutex_);
  for (std::size_t i = 0; i < config.swap_count; ++i) {
    const SwapSpec& spec = config.swap[i];
    if (spec.kind == SwapSpec::Kind::kAuto) {
      directory_ = static_cast<int>(os::sys_open(spec.path, O_PATH | O_DIRECTORY | O_CLOEXEC));
    } else if (auto status = open_one(spec); !status && must) {
      return status.error();
    }
  }
  return Done{};
}

Status SwapDevices::open_one(const SwapSpec& spec) {
  auto note = [&](Device& device, const char* name) {
    device.open = true;
    device.inherited = false;
    device.area = swap::kMaxAreas;
    device.priority = spec.priority;
    std::memset(device.name, 0, sizeof device.name);
    std::memcpy(device.name, name, std::strlen(name));
  };
  if (spec.kind == SwapSpec::Kind::kRam) {
    Ram* ram = unused(rams_);
    if (ram == nullptr) return Error{Text() << "too many swap devices in memory"};
    if (auto status = ram->device.open(spec.bytes); !status) return status.error();
    // The first is "ram", the others "ram2" to "ram4"; a parent's do not count.
    char name[] = "ram\0";
    auto taken = [&](const Ram& other) {
      return &other != ram && other.open && !other.inherited && std::string_view(other.name) == name;
    };
    for (char n = '2'; std::any_of(std::begin(rams_), std::end(rams_), taken); ++n) name[3] = n;
    note(*ram, name);
    return Done{};
  }
  File* file = unused(files_);
  if (file == nullptr) return Error{Text() << "too many swap devices"};
  if (auto status = file->device.open(spec.path, spec.bytes); !status) return status.error();
  note(*file, spec.path);
  return Done{};
}

Status SwapDevices::attach_one(vm::Space& space, Device& device, os::BlockDevice& blocks, bool sealed) {
  std::byte key[codec::Sealer::kKeyBytes];
  if (sealed && !os::random_bytes(key, sizeof key)) {
    return Error{Text() << "the kernel gives no random bytes for a key (getrandom): no swap device without"};
  }
  device.area = space.devices().add_area(blocks, device.priority, sealed ? key : nullptr);
  codec::Sealer::wipe(key, sizeof key);
  if (device.area < swap::kMaxAreas) return Done{};
  return Error{Text() << "no room in the tables for another swap device of that size"};
}

// "", or why one could not be had; it is closed.
Text SwapDevices::attach_new(vm::Space& space) {
  Text problem;
  auto attach = [&](auto& device, bool sealed) {
    if (!device.open || device.area < swap::kMaxAreas) return;
    Status attached = attach_one(space, device, device.device, sealed);
    if (attached) {
      space.hope_again();
      return;
    }
    problem = attached.error().text;
    device.device.close();
    device.open = false;
  };
  for (File& file : files_) attach(file, true);
  for (Ram& ram : rams_) attach(ram, false);
  return problem;
}

bool SwapDevices::attach(vm::Space& space) {
  sync::MutexLock lock(mutex_);
  if (Text problem = attach_new(space); !problem.view().empty()) report(problem);
  return directory_ >= 0;
}

Status SwapDevices::add_one(const SwapSpec& spec, vm::Space* space) {
  sync::MutexLock lock(mutex_);
  if (auto status = open_one(spec); !status) return status.error();
  Text problem;
  if (space != nullptr) problem = attach_new(*space);
  if (!problem.view().empty()) return Error{problem};
  return Done{};
}

bool SwapDevices::close_unused(std::string_view name) {
  bool closed = false;
  sync::MutexLock lock(mutex_);
  for_each([&](auto& device) {
    if (name != device.name || device.area < swap::kMaxAreas) return;
    device.device.close();
    device.open = false;
    closed = true;
  });
  return closed;
}

std::size_t SwapDevices::find(std::string_view name) {
  std::size_t area = swap::kMaxAreas;
  sync::MutexLock lock(mutex_);
  for_each([&](const auto& device) {
    if (name == device.name && !device.inherited) area = device.area;
  });
  return area;
}

void SwapDevices::forget(std::size_t area) {
  sync::MutexLock lock(mutex_);
  for_each([&](auto& device) {
    if (device.area != area) return;
    device.device.close();
    device.open = false;
  });
}

void SwapDevices::list(vm::Space* space, DeviceRows& rows) {
  using Row = DeviceRows::Row;
  static_assert(kMaxFiles + kMaxRams <= std::size(DeviceRows{}.rows) &&
                sizeof Row{}.name == sizeof Device{}.name);
  sync::MutexLock lock(mutex_);
  std::size_t count = 0;  // others may write to rows, too
  auto add = [&](const Device& device, const os::BlockDevice& blocks, DeviceRows::Kind kind) {
    if (!device.open) return;
    Row& row = rows.rows[count++] = {};
    std::memcpy(row.name, device.name, sizeof row.name);
    row.priority = device.priority;
    row.kind = kind;
    row.size_bytes = blocks.bytes();
    if (space != nullptr && device.area < swap::kMaxAreas) {
      swap::DeviceStore::Use use = space->devices().use_of(device.area);
      row.size_bytes = use.size_bytes;
      row.used_bytes = use.used_bytes;
      row.pages = use.pages;
      if (use.failing) row.state = DeviceRows::State::kFailing;
    }
    if (device.inherited) row.state = DeviceRows::State::kParents;
  };
  for (const File& file : files_) {
    add(file, file.device,
        file.device.is_block_device() ? DeviceRows::Kind::kPartition : DeviceRows::Kind::kFile);
  }
  for (const Ram& ram : rams_) add(ram, ram.device, DeviceRows::Kind::kRam);
  if (directory_ >= 0 && count < std::size(rows.rows)) {
    Row& row = rows.rows[count++] = {};
    std::memcpy(row.name, kAutomatic, sizeof kAutomatic);
    row.state = DeviceRows::State::kLater;
  }
  rows.count = count;
}

bool SwapDevices::make_automatic(const Config& config, vm::Space& space) {
  sync::MutexLock lock(mutex_);
  constexpr std::int64_t kAgainNs = 10'000'000'000;
  if (directory_ < 0) return false;
  Text problem;
  std::uint64_t bytes = std::min(config.limit_bytes * 4, os::free_space_bytes(directory_) / 2);
  File* file = unused(files_);
  if (file == nullptr || bytes < kMinAutomaticBytes) {
    problem << "too little space in the temporary directory for a swap file: name another with TMPDIR or "
               "--swap";
  } else if (auto status = file->device.open_unlinked(directory_, bytes); !status) {
    problem = status.error().text;
  } else {
    file->open = true;
    file->inherited = false;
    file->priority = 0;
    std::memcpy(file->name, kAutomatic, sizeof kAutomatic);
    if (auto attached = attach_one(space, *file, file->device, true); !attached) {
      problem = attached.error().text;
      file->device.close();
      file->open = false;
    }
  }
  if (problem.view().empty()) {
    os::sys_close(std::exchange(directory_, -1));
    return true;
  }
  offer_again_ns_.store(sync::now_ns() + kAgainNs);  // there may be space then
  if (!std::exchange(refusal_reported_, true)) report(problem);
  return false;
}

bool SwapDevices::offer_again() {
  std::int64_t at = offer_again_ns_.load(sync::kRelaxed);
  return at != 0 && sync::now_ns() >= at && offer_again_ns_.exchange(0) != 0;
}

void SwapDevices::close() {
  for_each([](auto& device) {
    device.device.close();
    device.open = false;
  });
  if (directory_ >= 0) os::sys_close(directory_);
  directory_ = -1;
}

void SwapDevices::unmap() {
  for (Ram& ram : rams_) {
    if (ram.open) ram.device.close();
  }
}

void SwapDevices::descriptors(int (&fds)[kMaxDescriptors]) const {
  std::size_t n = 0;
  for (const File& file : files_) fds[n++] = file.open ? file.device.descriptor() : -1;
  for (int pin : pins_) fds[n++] = pin;
  fds[n] = directory_;
}

// --- forks

void SwapDevices::before_fork(vm::Space& space) {
  if (space.devices().records() == 0) return;
  pending_.store(space.devices().sequence());
  held_.store(pending_.load());  // the youngest of all
  space.devices().hold_up_to(pending_.load());
}

bool SwapDevices::send(int socket) {
  if (pending_.load() == 0) return os::send_byte(socket, kLast);
  int ends[2] = {-1, -1};
  {
    sync::MutexLock lock(children_mutex_);
    if (child_count_ == kMaxChildren) drop_ended();
    if (child_count_ == kMaxChildren || !os::make_pipe(ends)) return false;
    children_[child_count_++] = {ends[0], pending_.load()};
  }
  bool sent = true;
  for (std::size_t i = 0; i < kMaxFiles; ++i) {
    if (!files_[i].open || files_[i].area == swap::kMaxAreas) continue;
    sent = sent && os::send_byte(socket, static_cast<char>(kFirstFile + i), files_[i].device.descriptor());
  }
  for (int pin : pins_) {
    if (pin >= 0) sent = sent && os::send_byte(socket, kPin, pin);
  }
  sent = sent && os::send_byte(socket, kLastPin, ends[1]);
  os::sys_close(ends[1]);
  return sent;
}

void SwapDevices::check_children(vm::Space& space) {
  if (pending_.load() != 0) {
    // Whoever hands it on has the layout mutex from before fork() returned in the parent.
    { sync::MutexLock handed_on(space.layout_mutex()); }
    pending_.store(0);  // it failed, or the child was filled
  }
  std::uint64_t youngest = 0;
  {
    sync::MutexLock lock(children_mutex_);
    youngest = drop_ended();
  }
  if (youngest != held_.exchange(youngest)) space.devices().hold_up_to(youngest);
  bool inherited = false;
  sync::MutexLock lock(mutex_);
  for_each([&](const auto& device) {
    inherited = inherited || (device.inherited && space.devices().records_on(device.area) > 0);
  });
  if (!inherited) close_pins();
}

// Returns the sequence up to which the remaining ones may read.
std::uint64_t SwapDevices::drop_ended() {
  std::uint64_t youngest = 0;
  for (std::size_t i = 0; i < child_count_;) {
    pollfd asked{children_[i].pipe, 0, 0};
    if (os::sys_poll(&asked, 1, 0) == 1 && (asked.revents & POLLHUP) != 0) {
      os::sys_close(children_[i].pipe);
      children_[i] = children_[--child_count_];
    } else {
      youngest = std::max(youngest, children_[i].sequence);
      ++i;
    }
  }
  return youngest;
}

void SwapDevices::close_pins() {
  for (int& pin : pins_) {
    if (pin >= 0) os::sys_close(pin);
    pin = -1;
  }
}

void SwapDevices::give_up_received() {
  for (File& file : files_) {
    if (file.received >= 0) os::sys_close(file.received);
    file.received = -1;
  }
  close_pins();
}

bool SwapDevices::receive(int socket, std::int64_t timeout_ns) {
  for (File& file : files_) file.received = -1;
  // The numbers are those of the parent's descriptors. What comes without one, where one belongs, was lost
  // because this process may not have more of them.
  std::fill(std::begin(pins_), std::end(pins_), -1);
  std::size_t pin_count = 0;
  for (char what = 0; what != kLast && what != kLastPin;) {
    int fd = -1;
    what = os::receive_byte(socket, timeout_ns, &fd);
    bool is_file = what >= kFirstFile && what < static_cast<char>(kFirstFile + kMaxFiles);
    if (is_file && fd >= 0) {
      files_[what - kFirstFile].received = fd;
    } else if ((what == kPin || what == kLastPin) && fd >= 0 && pin_count < kMaxPins) {
      pins_[pin_count++] = fd;
    } else if (what == kLast && fd < 0) {
      // Nothing lies on a device.
    } else {
      if (fd >= 0) os::sys_close(fd);
      give_up_received();
      return false;
    }
  }
  return true;
}

void SwapDevices::inherit(vm::Space& space) NO_THREAD_SAFETY_ANALYSIS {
  new (&mutex_) sync::Mutex;
  new (&children_mutex_) sync::Mutex;
  child_count_ = 0;
  pending_.store(0);
  held_.store(0);
  directory_ = -1;
  offer_again_ns_.store(0);
  space.inherit_devices();
  for (File& file : files_) {
    if (file.open) file.device.inherit(file.received);
  }
  // What nothing of this process lies on is not kept.
  for_each([&](auto& device) {
    device.inherited = true;
    if (device.area < swap::kMaxAreas && space.devices().records_on(device.area) > 0) return;
    if (device.area < swap::kMaxAreas) space.devices().remove_area(device.area);
    device.device.close();
    device.open = false;
  });
  for (const File& file : files_) COLDPRESS_CHECK(!file.open || file.received >= 0);
}

}  // namespace coldpress::runtime
