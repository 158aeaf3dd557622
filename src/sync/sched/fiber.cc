#include "sync/sched/fiber.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstdint>

#include "base/check.h"
#include "sync/raw_syscall.h"

#if defined(__SANITIZE_ADDRESS__)
#define COLDPRESS_FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define COLDPRESS_FIBER_ASAN 1
#endif
#endif
#ifdef COLDPRESS_FIBER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef COLDPRESS_SCHED_TSAN
#include <sanitizer/tsan_interface.h>
#endif

// void coldpress_fiber_switch(void** save_stack_pointer, void* stack_pointer)
asm(R"(
.text
.globl coldpress_fiber_switch
.hidden coldpress_fiber_switch
.type coldpress_fiber_switch, @function
coldpress_fiber_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size coldpress_fiber_switch, .-coldpress_fiber_switch
)");
extern "C" void coldpress_fiber_switch(void** save, void* to);

namespace coldpress::sched {
namespace {
constexpr std::size_t kGuardBytes = 4096;
Fiber* starting = nullptr;  // whom begin() is to run
Fiber* left = nullptr;      // whom the last switch has left
}  // namespace

void Fiber::prepare(void (*entry)(void*), void* argument) {
  if (stack_ == nullptr) {
    long start = raw_syscall(SYS_mmap, 0, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    COLDPRESS_CHECK(start > 0);
    raw_syscall(SYS_mprotect, start, kGuardBytes, PROT_NONE);
    stack_ = reinterpret_cast<std::byte*>(start) + kGuardBytes;
  }
#ifdef COLDPRESS_FIBER_ASAN
  __asan_unpoison_memory_region(stack_, kStackBytes);  // frames that ended for good
#endif
  entry_ = entry;
  argument_ = argument;
  // As if begin() had been called: six registers, then the address to return to, the stack off by 8.
  auto* top = reinterpret_cast<std::uint64_t*>(stack_ + kStackBytes) - 2;
  *top = reinterpret_cast<std::uint64_t>(&Fiber::begin);
  stack_pointer_ = top - 6;
#ifdef COLDPRESS_SCHED_TSAN
  if (tsan_ == nullptr) tsan_ = __tsan_create_fiber(0);
#endif
}

void Fiber::switch_from(Fiber& from, Fiber& to, bool for_good) {
  (void)for_good;
  starting = &to;
  left = &from;
#ifdef COLDPRESS_FIBER_ASAN
  __sanitizer_start_switch_fiber(for_good ? nullptr : &from.asan_stack_,
                                 to.stack_ != nullptr ? to.stack_ : to.asan_bottom_,
                                 to.stack_ != nullptr ? kStackBytes : to.asan_bytes_);
#endif
#ifdef COLDPRESS_SCHED_TSAN
  if (from.tsan_ == nullptr) from.tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.tsan_, __tsan_switch_to_fiber_no_sync);
#endif
  coldpress_fiber_switch(&from.stack_pointer_, to.stack_pointer_);
#ifdef COLDPRESS_FIBER_ASAN
  const void* bottom;
  std::size_t bytes;
  __sanitizer_finish_switch_fiber(from.asan_stack_, &bottom, &bytes);
  if (left->stack_ == nullptr) {
    left->asan_bottom_ = bottom;
    left->asan_bytes_ = bytes;
  }
#endif
}

void Fiber::begin() {
#ifdef COLDPRESS_FIBER_ASAN
  const void* bottom;
  std::size_t bytes;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &bytes);
  if (left->stack_ == nullptr) {
    left->asan_bottom_ = bottom;
    left->asan_bytes_ = bytes;
  }
#endif
  Fiber* self = starting;
  self->entry_(self->argument_);
  COLDPRESS_CHECK(!"a fiber has returned");
}

}  // namespace coldpress::sched
