// Shows what a program sees when somebody damages its compressed pages: SIGBUS for a page that can
// not be restored, each time it is touched, the right bytes of all others, never wrong bytes.
//
//   corrupt_victim MIB SEED catch|die    "filled" on stdout, waits for a line on stdin; walks its
//                                        memory twice; with catch: "walked", and waits again
#include <csetjmp>
#include <csignal>
#include <string_view>
#include <vector>

#include "content.h"

namespace coldtest {
namespace {

sigjmp_buf after_fault;
volatile bool walking = false;
const void* volatile walked_page = nullptr;

void on_bus_error(int, siginfo_t* info, void*) {
  auto fault = reinterpret_cast<std::uintptr_t>(info->si_addr);
  auto page = reinterpret_cast<std::uintptr_t>(walked_page);
  if (!walking || fault - page >= kPageSize)
    die("FAILED: SIGBUS at %p, not in the page that was read", info->si_addr);
  siglongjmp(after_fault, 1);
}

enum class Seen { kRight, kWrong, kBusError };

Seen look_at(const void* page, std::uint64_t key) {
  walked_page = page;
  if (sigsetjmp(after_fault, 1) != 0) return Seen::kBusError;
  walking = true;
  bool right = page_is(page, key);
  walking = false;
  return right ? Seen::kRight : Seen::kWrong;
}

int run(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  bool catches = argc > 3 && std::string_view(argv[3]) == "catch";
  if (catches) {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    require(sigaction(SIGBUS, &action, nullptr) == 0, "sigaction");
  }
  Rng rng(arguments.seed);
  Byte* base = map_pages(arguments.pages());
  std::vector<std::uint64_t> keys(arguments.pages());
  for (std::size_t i = 0; i < keys.size(); ++i) fill_page(base + i * kPageSize, keys[i] = rng.page_key());
  meet_driver("filled");
  std::vector<Seen> seen(keys.size());
  std::size_t bus_errors = 0;
  for (unsigned pass = 0; pass < 2; ++pass) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const Byte* page = base + i * kPageSize;
      Seen now = look_at(page, keys[i]);
      if (now == Seen::kWrong) report_page("damaged memory", page, keys[i]);
      if (pass == 1 && seen[i] == Seen::kBusError && now == Seen::kRight)
        die("FAILED: page %p came back", page);
      bus_errors += pass == 0 && now == Seen::kBusError;
      seen[i] = now;
    }
  }
  std::printf("bus errors %zu of %zu pages\n", bus_errors, keys.size());
  if (catches) meet_driver("walked");
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) { return coldtest::run(argc, argv); }
