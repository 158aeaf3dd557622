// What the handles of the C library are: one object of the C++ library each, and what is needed to refuse
// wrong calls.
// Thread safety: all functions from any thread.
#pragma once

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <string_view>

#include "coldpress/coldpress.h"
#include "coldpress/pager.h"
#include "os/linux/syscalls.h"
#include "sync/atomic.h"

struct coldpress_pager {
  std::unique_ptr<coldpress::Pager> pager;
  long process = coldpress::os::sys_getpid();
  coldpress::sync::Atomic<std::size_t> in_use{0};  // its regions and groups

  bool in_child() const { return coldpress::os::sys_getpid() != process; }
};

struct coldpress_region {
  coldpress_pager* pager;
  coldpress::Region region;
};

struct coldpress_group {
  coldpress_pager* pager;
  coldpress::Group group;
};

namespace coldpress::c {

inline coldpress_status say(coldpress_error* error, coldpress_status status, std::string_view text) {
  if (error == nullptr) return status;
  std::size_t length = std::min(text.size(), sizeof error->text - 1);
  std::memcpy(error->text, text.data(), length);
  error->text[length] = 0;
  return status;
}

inline coldpress_status say(coldpress_error* error, coldpress_status status) {
  return say(error, status, status == COLDPRESS_OK ? "" : coldpress_status_text(status));
}

// Whether a call on something of this pager's can be served.
inline coldpress_status usable(const coldpress_pager* pager) {
  return pager->in_child() ? COLDPRESS_IN_CHILD : COLDPRESS_OK;
}

// Does what the C++ library does, none of whose exceptions goes further. They are of std::exception: what
// ends a thread (pthread_cancel) must pass.
template <typename Work>
coldpress_status guarded(coldpress_error* error, Work work) {
  try {
    return work();
  } catch (const std::exception&) {
    return say(error, COLDPRESS_NO_MEMORY);
  }
}

// A structure that the program has filled, whose header may be older or newer than the library's; `first`:
// how large it was in the first version. false: it is smaller, or sets what this library does not know.
template <typename Structure>
[[nodiscard]] bool take(const Structure* given, std::size_t first, Structure& taken) {
  std::size_t size = given->struct_size;
  constexpr std::size_t kPlausible = 4096;
  if (size < first || size > kPlausible) return false;
  const auto* bytes = reinterpret_cast<const char*>(given);
  for (std::size_t i = sizeof taken; i < size; ++i) {
    if (bytes[i] != 0) return false;
  }
  std::memcpy(&taken, given, std::min(size, sizeof taken));
  return true;
}

// One that the library fills.
template <typename Structure>
void give(const Structure& known, void* place, std::size_t size) {
  std::memcpy(place, &known, std::min(size, sizeof known));
  if (size > sizeof known) std::memset(static_cast<char*>(place) + sizeof known, 0, size - sizeof known);
}

}  // namespace coldpress::c
