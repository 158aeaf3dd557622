// The swap devices of an engine: opened from the configuration, handed on in forks.
//
// Files are opened when the engine starts, before the program can change its user or its root. The automatic
// one is made when it is first needed, in a directory that is opened at the start.
//
// Forks. The child reads what its parent has written: it gets descriptors of the parent's devices, and the
// writing end of a pipe, the pin. What was on the devices at the fork stays there while any process has the
// pin open, that is until the child, and its children in turn, have ended or called exec.
//
// Thread safety: open(), attach() and inherit() while nobody else uses the engine; the rest as said.
#pragma once

#include "os/linux/file_device.h"
#include "os/linux/ram_device.h"
#include "runtime/config.h"
#include "vm/space.h"

namespace coldpress::runtime {

class SwapDevices {
 public:
  static constexpr std::size_t kMaxFiles = 12, kMaxRams = 4, kMaxPins = 8, kMaxChildren = 64;
  static constexpr std::size_t kMaxDescriptors = kMaxFiles + kMaxPins + 1;

  // `must`: what can not be opened is an error; else it is left out.
  Status open(const Config& config, bool must);
  Status open_one(const SwapSpec& spec);
  // Gives what was opened since to the space.
  void attach_new(vm::Space& space);
  // By path, "auto" or "ram". kMaxAreas: there is none.
  std::size_t find(std::string_view name) const;
  // After it was swapped off.
  void forget(std::size_t area);
  // Gives what is open to the space. Also says whether more can be had later (make_automatic()).
  bool attach(vm::Space& space);
  // The automatic device. By an engine thread; false: none, and the reason was reported.
  bool make_automatic(const Config& config, vm::Space& space);
  void close();
  // Descriptors that the engine's threads need; -1 where there is none.
  void descriptors(int (&fds)[kMaxDescriptors]) const;

  // --- the parent
  // Before the fork, when nobody changes anything: from now on all that is on the devices stays.
  void before_fork(vm::Space& space);
  // In an engine thread. Sends a child what it needs to read what was written until before_fork(), and holds
  // that for as long as there are readers. false: it can not be handed on; the child must be filled.
  bool send(int socket, vm::Space& space);
  // The child has what it needs, or needs nothing.
  void after_fork() { pending_.store(0); }
  // Lets go what was held for children that are not there any more.
  void check_children(vm::Space& space);

  // --- the child
  // Takes what send() has sent. false: it did not come.
  bool receive(int socket, std::int64_t timeout_ns);
  // After receive(): the devices are the parent's from now on.
  void inherit(vm::Space& space);

 private:
  struct File {
    os::FileDevice device;
    std::size_t area;  // swap::kMaxAreas: not attached
    int priority;
    bool open;
    int received;  // the child's descriptor for it
    char name[sizeof SwapSpec::path];
  };
  struct Ram {
    os::RamDevice device;
    std::size_t area;
    int priority;
    bool open;
  };
  struct Child {
    int pipe;  // its reading end
    std::uint64_t sequence;
  };

  File* free_file();
  static std::size_t add(vm::Space& space, os::BlockDevice& device, int priority, bool sealed);

  File files_[kMaxFiles] = {};
  Ram rams_[kMaxRams] = {};
  int directory_ = -1;
  int pins_[kMaxPins] = {-1, -1, -1, -1, -1, -1, -1, -1};
  sync::Atomic<std::uint64_t> pending_{0};  // of a fork under way
  sync::Mutex children_mutex_;
  Child children_[kMaxChildren] GUARDED_BY(children_mutex_) = {};
  std::size_t child_count_ GUARDED_BY(children_mutex_) = 0;
};

}  // namespace coldpress::runtime
