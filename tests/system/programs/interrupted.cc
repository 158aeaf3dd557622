// interrupted MIB [SEED]: see interrupts.h. And the program's own handler of SIGBUS runs as it would
// natively: with the signals held that were held, and those of its own mask.
#include <sys/syscall.h>
#include <sys/wait.h>

#include <csetjmp>

#include "interrupts.h"

using namespace coldtest;

namespace {

sigjmp_buf after;
sigset_t held;

void own_handler() {
  sigset_t user1;
  sigemptyset(&user1);
  sigaddset(&user1, SIGUSR1);
  require(pthread_sigmask(SIG_BLOCK, &user1, nullptr) == 0, "pthread_sigmask");
  struct sigaction action {};
  action.sa_handler = [](int) {
    pthread_sigmask(SIG_BLOCK, nullptr, &held);
    siglongjmp(after, 1);
  };
  sigaddset(&action.sa_mask, SIGUSR2);
  require(sigaction(SIGBUS, &action, nullptr) == 0, "sigaction");
  int file = static_cast<int>(syscall(SYS_memfd_create, "empty", 0));
  void* past_end = mmap(nullptr, kPageSize, PROT_READ, MAP_SHARED, file, 0);
  require(past_end != MAP_FAILED, "mmap of an empty file");
  if (sigsetjmp(after, 1) == 0) {
    (void)*static_cast<volatile Byte*>(past_end);
    die("FAILED: no SIGBUS");
  }
  for (int number : {SIGHUP, SIGUSR1, SIGUSR2, SIGTERM}) {
    bool wanted = number == SIGUSR1 || number == SIGUSR2;
    if ((sigismember(&held, number) == 1) != wanted) die("FAILED: signal %d in the handler", number);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  Interrupts interrupts(map_pages(arguments.pages()), arguments.pages());
  touch_in_threads(interrupts, 3, 20000, [&](std::uint64_t id, std::uint64_t turn) {
    if (turn % 16 != id) return;
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
      interrupts.touch(turn);
      _exit(0);
    }
    int status = -1;
    while (waitpid(child, &status, 0) == -1 && errno == EINTR) continue;
    if (status != 0) die("FAILED: a child ended with %x", status);
  });
  interrupts.check();
  own_handler();
  std::puts("whole");
}
