#include "os/linux/stats_file.h"

#include <linux/memfd.h>

#include <cstring>

#include "os/linux/syscalls.h"

namespace coldpress::os {

void* create_stats_page(void* at, int* fd) {
  long memfd = raw_syscall(SYS_memfd_create, reinterpret_cast<long>(kStatsFileName), MFD_CLOEXEC);
  if (memfd < 0) return nullptr;
  if (raw_syscall(SYS_ftruncate, memfd, kStatsFileBytes) != 0) {
    sys_close(static_cast<int>(memfd));
    return nullptr;
  }
  std::byte kept[kStatsFileKeptBytes];  // on a stack of the program's, perhaps a small one
  if (at != nullptr) std::memcpy(kept, at, sizeof kept);
  void* page = sys_mmap(at, kStatsFileBytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | (at != nullptr ? MAP_FIXED : 0), static_cast<int>(memfd));
  if (page == nullptr) {
    sys_close(static_cast<int>(memfd));
    return nullptr;
  }
  if (at != nullptr) std::memcpy(page, kept, sizeof kept);
  *fd = static_cast<int>(memfd);
  return page;
}

}  // namespace coldpress::os
