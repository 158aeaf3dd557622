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

constexpr char kFirstFile = 'A', kPin = 'p', kLast = 'z';
constexpr char kAutomatic[] = "auto";
constexpr std::uint64_t kMinAutomaticBytes = std::uint64_t{16} << 20;

}  // namespace

SwapDevices::File* SwapDevices::free_file() {
  for (File& file : files_) {
    if (!file.open) return &file;
  }
  return nullptr;
}

Status SwapDevices::open(const Config& config, bool must) {
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
  if (spec.kind == SwapSpec::Kind::kRam) {
    auto* ram = std::find_if(std::begin(rams_), std::end(rams_), [](const Ram& r) { return !r.open; });
    if (ram == std::end(rams_)) return Error{Text() << "too many swap devices in memory"};
    if (auto status = ram->device.open(spec.bytes); !status) return status.error();
    ram->open = true;
    ram->area = swap::kMaxAreas;
    ram->priority = spec.priority;
    return Done{};
  }
  File* file = free_file();
  if (file == nullptr) return Error{Text() << "too many swap devices"};
  if (auto status = file->device.open(spec.path, spec.bytes); !status) return status.error();
  file->open = true;
  file->area = swap::kMaxAreas;
  file->priority = spec.priority;
  std::memcpy(file->name, spec.path, sizeof file->name);
  return Done{};
}

std::size_t SwapDevices::add(vm::Space& space, os::BlockDevice& device, int priority, bool sealed) {
  std::byte key[codec::Sealer::kKeyBytes];
  if (sealed && !os::random_bytes(key, sizeof key)) return swap::kMaxAreas;
  std::size_t area = space.devices().add_area(device, priority, sealed ? key : nullptr);
  codec::Sealer::wipe(key, sizeof key);
  return area;
}

bool SwapDevices::attach(vm::Space& space) {
  attach_new(space);
  return directory_ >= 0;
}

void SwapDevices::attach_new(vm::Space& space) {
  for (File& file : files_) {
    if (file.open && file.area == swap::kMaxAreas) file.area = add(space, file.device, file.priority, true);
  }
  for (Ram& ram : rams_) {
    if (ram.open && ram.area == swap::kMaxAreas) ram.area = add(space, ram.device, ram.priority, false);
  }
}

std::size_t SwapDevices::find(std::string_view name) const {
  for (const File& file : files_) {
    if (file.open && name == file.name) return file.area;
  }
  for (const Ram& ram : rams_) {
    if (ram.open && name == "ram") return ram.area;
  }
  return swap::kMaxAreas;
}

void SwapDevices::forget(std::size_t area) {
  for (File& file : files_) {
    if (!file.open || file.area != area) continue;
    file.device.close();
    file.open = false;
  }
  for (Ram& ram : rams_) {
    if (!ram.open || ram.area != area) continue;
    ram.device.close();
    ram.open = false;
  }
}

bool SwapDevices::make_automatic(const Config& config, vm::Space& space) {
  if (directory_ < 0) return false;
  int directory = std::exchange(directory_, -1);
  Text problem;
  std::uint64_t bytes = config.limit_bytes * 4;
  File* file = free_file();
  bytes = std::min(bytes, os::free_space_bytes(directory) / 2);
  if (file == nullptr || bytes < kMinAutomaticBytes) {
    problem
        << "too little space in the temporary directory for a swap file: name another with TMPDIR or --swap";
  } else if (auto status = file->device.open_unlinked(directory, bytes); !status) {
    problem = status.error().text;
  } else {
    file->open = true;
    file->priority = 0;
    file->area = add(space, file->device, 0, true);
    std::memcpy(file->name, kAutomatic, sizeof kAutomatic);
  }
  os::sys_close(directory);
  if (problem.view().empty()) return true;
  report(problem);
  return false;
}

void SwapDevices::close() {
  for (File& file : files_) {
    if (file.open) file.device.close();
    file.open = false;
  }
  for (Ram& ram : rams_) {
    if (ram.open) ram.device.close();
    ram.open = false;
  }
  if (directory_ >= 0) os::sys_close(directory_);
  directory_ = -1;
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
  space.devices().hold_up_to(pending_.load());  // the youngest of all
}

bool SwapDevices::send(int socket, vm::Space& space) {
  if (pending_.load() == 0) return os::send_byte(socket, kLast);
  int ends[2] = {-1, -1};
  {
    sync::MutexLock lock(children_mutex_);
    if (child_count_ == kMaxChildren || !os::make_pipe(ends)) return false;
    children_[child_count_++] = {ends[0], pending_.load()};
  }
  bool sent = true;
  for (std::size_t i = 0; i < kMaxFiles; ++i) {
    if (!files_[i].open || space.devices().device(files_[i].area) == nullptr) continue;
    sent = sent && os::send_byte(socket, static_cast<char>(kFirstFile + i), files_[i].device.descriptor());
  }
  for (int pin : pins_) {
    if (pin >= 0) sent = sent && os::send_byte(socket, kPin, pin);
  }
  sent = sent && os::send_byte(socket, kLast, ends[1]);
  os::sys_close(ends[1]);
  return sent;
}

void SwapDevices::check_children(vm::Space& space) {
  sync::MutexLock lock(children_mutex_);
  if (child_count_ == 0) return;
  std::uint64_t youngest = pending_.load();
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
  space.devices().hold_up_to(youngest);
}

bool SwapDevices::receive(int socket, std::int64_t timeout_ns) {
  for (File& file : files_) file.received = -1;
  int pins[kMaxPins];
  std::fill(std::begin(pins), std::end(pins), -1);
  std::size_t pin_count = 0;
  for (char what = 0; what != kLast;) {
    int fd = -1;
    what = os::receive_byte(socket, timeout_ns, &fd);
    if (what >= kFirstFile && what < static_cast<char>(kFirstFile + kMaxFiles) && fd >= 0) {
      files_[what - kFirstFile].received = fd;
    } else if (what != kPin && what != kLast) {
      return false;
    } else if (fd >= 0) {
      if (pin_count == kMaxPins) return false;
      pins[pin_count++] = fd;
    }
  }
  std::copy(std::begin(pins), std::end(pins), pins_);
  return true;
}

void SwapDevices::inherit(vm::Space& space) {
  new (&children_mutex_) sync::Mutex;
  child_count_ = 0;
  pending_.store(0);
  directory_ = -1;
  space.inherit_devices();
  for (File& file : files_) {
    if (!file.open) continue;
    file.device.inherit(file.received);
    bool wanted = file.area < swap::kMaxAreas && space.devices().records_on(file.area) > 0;
    COLDPRESS_CHECK(!wanted || file.received >= 0);
    if (wanted) continue;
    if (file.area < swap::kMaxAreas) space.devices().remove_area(file.area);
    file.device.close();
    file.open = false;
  }
}

}  // namespace coldpress::runtime
