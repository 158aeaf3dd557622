#include "cli/machine.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "cli/preload_file.h"
#include "os/linux/descriptors.h"
#include "os/linux/engine_memory.h"
#include "os/linux/linux_mmu.h"
#include "os/linux/syscalls.h"

namespace coldpress::cli {
namespace {

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string status_field(const std::string& name) {
  std::ifstream file("/proc/self/status");
  std::string key, value;
  while (file >> key && std::getline(file, value)) {
    if (key == name + ":") {
      std::istringstream stream(value);
      stream >> value;
      return value;
    }
  }
  return "";
}

Finding kernel_version() {
  utsname name;
  uname(&name);
  int major = 0, minor = 0;
  std::sscanf(name.release, "%d.%d", &major, &minor);
  return {"kernel", major > 6 || (major == 6 && minor >= 8), true, fmt::format("Linux {}", name.release),
          "UFFDIO_MOVE came with Linux 6.8: boot a newer kernel (Debian 12: linux-image-amd64 from "
          "bookworm-backports)"};
}

constexpr char kAccessRemedy[] =
    "give this user access to /dev/userfaultfd (setfacl -m u:USER:rw /dev/userfaultfd), or sysctl "
    "vm.unprivileged_userfaultfd=1; in a container: docker run --device /dev/userfaultfd, or podman run "
    "--device /dev/userfaultfd";

// Opens a userfaultfd as the engine does, moves a page out and back, scans, poisons nothing.
void examine_userfault(std::vector<Finding>& findings) {
  Finding access{"userfaultfd", false, true, "", kAccessRemedy};
  Finding move{"UFFDIO_MOVE and events", false, true, "not tried", "Linux 6.8 or newer is needed"};
  Finding fork_event{"fork event", false, false, "not tried",
                     "without CAP_SYS_PTRACE a fork brings all compressed pages back first; in a container: "
                     "--cap-add SYS_PTRACE"};
  Finding scan{"PAGEMAP_SCAN", false, true, "not tried", "mount /proc; Linux 6.7 or newer is needed"};
  long device = os::sys_open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  std::string sysctl = first_line("/proc/sys/vm/unprivileged_userfaultfd");
  if (device >= 0) os::sys_close(static_cast<int>(device));
  std::string device_text = device >= 0 ? "open" : std::strerror(static_cast<int>(-device));
  os::LinuxMmu mmu;
  os::EngineMemory memory;
  auto opened = mmu.init({.frame_count = 32});
  if (opened) {
    access.good = move.good = true;
    fork_event.good = mmu.main().has_fork_event();
    fork_event.detail = fork_event.good ? "delivered (CAP_SYS_PTRACE)" : "refused: no CAP_SYS_PTRACE";
    bool by_device = mmu.main().opened_by() == os::OpenedBy::kDevice;
    access.detail = fmt::format("allowed by {}", by_device       ? "/dev/userfaultfd"
                                                 : sysctl == "1" ? "vm.unprivileged_userfaultfd=1"
                                                                 : "CAP_SYS_PTRACE");
    constexpr std::uint64_t kPages = 4;
    auto status = memory.init(std::size_t{4} << 20);
    void* area =
        os::sys_mmap(nullptr, kPages * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    PageIndex first = page_of(reinterpret_cast<std::uint64_t>(area));
    if (status && area != nullptr && mmu.activate(memory)) {
      std::memset(area, 7, kPages * kPageBytes);
      os::sys_madvise(area, kPages * kPageBytes, MADV_NOHUGEPAGE);
      bool registered = mmu.register_range({first, first + kPages});
      PageRange found[4];
      PageIndex scanned;
      scan.good = mmu.scan_present({first, first + kPages}, kPages, found, &scanned) == 1;
      scan.detail = scan.good ? "works" : "does not work";
      move.good = registered && mmu.capture(first, FrameId{0}, kPages).moved == kPages &&
                  mmu.frame_data(FrameId{1})[5] == std::byte{7} &&
                  mmu.install(first, FrameId{0}, kPages).moved == kPages &&
                  static_cast<char*>(area)[kPageBytes] == 7;
      move.detail = move.good ? "a page went out and came back" : "a page could not be moved out and back";
      mmu.unregister_range({first, first + kPages});
    }
    if (area != nullptr) os::sys_munmap(area, kPages * kPageBytes);
    mmu.close();
    memory.destroy();
  } else {
    access.detail = fmt::format("/dev/userfaultfd: {}; vm.unprivileged_userfaultfd={}; {}", device_text,
                                sysctl.empty() ? "absent" : sysctl, opened.error().text.view());
  }
  findings.insert(findings.end(), {access, move, fork_event, scan});
}

Finding address_space() {
  rlimit limit;
  getrlimit(RLIMIT_AS, &limit);
  bool good = limit.rlim_cur == RLIM_INFINITY;
  return {"address space limit", good, true, good ? "unlimited" : fmt::format("{} bytes", limit.rlim_cur),
          "ulimit -v unlimited"};
}

Finding seccomp() {
  std::string mode = status_field("Seccomp");
  long copy = os::take_from_program(0);
  if (copy >= 0) os::sys_close(static_cast<int>(copy));
  bool good = copy >= 0 || mode == "0";
  return {
      "seccomp", good, false, mode == "2" ? "a filter is active" : "no filter",
      "pidfd_getfd is blocked, so a forked child starts with all its memory brought back; in a container: "
      "--cap-add SYS_PTRACE or a seccomp profile that allows it"};
}

Finding huge_pages() {
  std::string mode = first_line("/sys/kernel/mm/transparent_hugepage/enabled");
  return {"transparent huge pages", true, false,
          mode.empty() ? "not in this kernel" : mode + " (kept until the limit is reached)", ""};
}

Finding preload_library() {
  std::string path = find_preload_library();
  return {"preload library", !path.empty(), true, path.empty() ? "not found" : path,
          "build or install coldpress again"};
}

}  // namespace

std::vector<Finding> examine_machine() {
  std::vector<Finding> findings{kernel_version()};
  examine_userfault(findings);
  findings.push_back(address_space());
  findings.push_back(seccomp());
  findings.push_back(huge_pages());
  findings.push_back(preload_library());
  return findings;
}

std::string machine_problem() {
  for (const Finding& finding : examine_machine()) {
    if (finding.needed && !finding.good) {
      return fmt::format("{} ({}): {}", finding.name, finding.detail, finding.remedy);
    }
  }
  return "";
}

}  // namespace coldpress::cli
