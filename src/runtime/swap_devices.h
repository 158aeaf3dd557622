// The swap devices of an engine: opened from the configuration, handed on in forks.
//
// Files are opened when the engine starts, before the program can change its user or its root. The automatic
// one is made when it is first needed, in a directory that is opened at the start.
//
// Forks. The child reads what its parent has written: it gets descriptors of the parent's devices, and the
// writing end of a pipe, the pin. What was on the devices at the fork stays there while any process has the
// pin open, that is until the child, and its children in turn, have ended or called exec.
//
// Thread safety: open(), attach() and inherit() while nobody else uses the engine; the rest any engine
// thread.
#pragma once

#include "os/linux/file_device.h"
#include "os/linux/ram_device.h"
#include "runtime/config.h"
#include "runtime/told.h"
#include "vm/space.h"

namespace coldpress::runtime {

class SwapDevices {
 public:
  static constexpr std::size_t kMaxFiles = 12, kMaxRams = 4, kMaxPins = 8, kMaxChildren = 256;
  static constexpr std::size_t kMaxDescriptors = kMaxFiles + kMaxPins + 1;

  // `must`: what can not be opened is an error; else it is left out.
  Status open(const Config& config, bool must);
  // One more, for a space that is in use, or for later (nullptr).
  Status add_one(const SwapSpec& spec, vm::Space* space) EXCLUDES(mutex_);
  // Closes a device that no space has. false: there is none of that name.
  bool close_unused(std::string_view name) EXCLUDES(mutex_);
  // By path, "auto", "ram" (or "ram2" and so on: the second one). kMaxAreas: there is none.
  std::size_t find(std::string_view name) EXCLUDES(mutex_);
  // After it was swapped off.
  void forget(std::size_t area) EXCLUDES(mutex_);
  // All there are; `space`: nullptr when they were not given to one yet.
  void list(vm::Space* space, DeviceRows& rows) EXCLUDES(mutex_);
  // Gives what is open to the space. Also says whether more can be had later (make_automatic()).
  bool attach(vm::Space& space);
  // The automatic device. By an engine thread; false: none now, and the reason was reported, the first time.
  bool make_automatic(const Config& config, vm::Space& space) EXCLUDES(mutex_);
  // Whether it is time to try that again. Cheap.
  bool offer_again();
  void close();
  // In a child that does not take over: lets the parent's devices in memory go.
  void unmap();
  // Descriptors that the engine's threads need; -1 where there is none.
  void descriptors(int (&fds)[kMaxDescriptors]) const;

  // --- the parent
  // Before the fork, when nobody changes anything: from now on all that is on the devices stays.
  void before_fork(vm::Space& space);
  // In an engine thread. Sends a child what it needs to read what was written until before_fork(), and holds
  // that for as long as there are readers. false: it can not be handed on; the child must be filled.
  bool send(int socket);
  // The child has what it needs, or needs nothing.
  void after_fork() { pending_.store(0); }
  bool fork_pending() const { return pending_.load() != 0; }
  // Lets go what was held for children that are not there any more.
  void check_children(vm::Space& space);

  // --- the child
  // Takes what send() has sent. false: it did not come.
  bool receive(int socket, std::int64_t timeout_ns);
  // After receive(), when nothing comes of the hand-over: closes what came.
  void give_up_received();
  // After receive(): the devices are the parent's from now on.
  void inherit(vm::Space& space) NO_THREAD_SAFETY_ANALYSIS;

 private:
  struct Device {
    std::size_t area;  // swap::kMaxAreas: not attached
    int priority;
    bool open;
    bool inherited;  // the parent's
    char name[sizeof SwapSpec::path];
  };
  struct File : Device {
    os::FileDevice device;
    int received = -1;  // the child's descriptor for it
  };
  struct Ram : Device {
    os::RamDevice device;
  };
  struct Child {
    int pipe;  // its reading end
    std::uint64_t sequence;
  };

  template <typename Kind, std::size_t kCount>
  static Kind* unused(Kind (&devices)[kCount]);
  Status open_one(const SwapSpec& spec) REQUIRES(mutex_);
  Text attach_new(vm::Space& space) REQUIRES(mutex_);
  static Status attach_one(vm::Space& space, Device& device, os::BlockDevice& blocks, bool sealed);
  template <typename Visit>
  void for_each(Visit visit);
  std::uint64_t drop_ended() REQUIRES(children_mutex_);
  void close_pins();

  sync::Mutex mutex_;  // which devices there are
  File files_[kMaxFiles] = {};
  Ram rams_[kMaxRams] = {};
  int directory_ = -1;
  bool refusal_reported_ GUARDED_BY(mutex_) = false;
  sync::Atomic<std::int64_t> offer_again_ns_{0};
  int pins_[kMaxPins] = {-1, -1, -1, -1, -1, -1, -1, -1};
  sync::Atomic<std::uint64_t> pending_{0};  // of a fork under way
  sync::Atomic<std::uint64_t> held_{0};     // what the space was told last
  sync::Mutex children_mutex_;
  Child children_[kMaxChildren] GUARDED_BY(children_mutex_) = {};
  std::size_t child_count_ GUARDED_BY(children_mutex_) = 0;
};

}  // namespace coldpress::runtime
