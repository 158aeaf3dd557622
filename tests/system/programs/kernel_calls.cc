// Proves that system calls other than I/O work on cold memory: paths and results of every size,
// poll and epoll, clocks and sleeps, signal frames on a cold stack, futexes that threads sleep on
// while they get cold, exec from cold strings, and threads that end under pressure.
//
//   kernel_calls MIB [SEED]
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "cold_buffers.h"

namespace coldtest {
namespace {

Use paths(ColdBuffers& buffers) {
  char* root = buffers.take_text("/");
  char* link = buffers.take_text("/proc/self/exe");
  char* directory = buffers.take<char>(4096, 700);
  char* target = buffers.take<char>(4096);
  auto* status = buffers.take<struct stat>();
  Byte* entries = buffers.take(8192);
  return [=] {
    expect(getcwd(directory, 4096) == directory && directory[0] == '/', "getcwd");
    checked(stat(root, status), "stat");
    expect(S_ISDIR(status->st_mode), "stat of a directory");
    long length = checked(readlink(link, target, 4096), "readlink");
    expect(target[0] == '/' && std::strlen(target) == static_cast<std::size_t>(length), "readlink");
    int fd = static_cast<int>(checked(open(root, O_RDONLY | O_DIRECTORY), "open"));
    expect(checked(syscall(SYS_getdents64, fd, entries, 8192), "getdents64") > 0, "getdents64");
    close(fd);
  };
}

Use small_results(ColdBuffers& buffers) {
  auto* name = buffers.take<utsname>();
  auto* usage = buffers.take<rusage>();
  auto* limit = buffers.take<rlimit>();
  auto* cpus = buffers.take<cpu_set_t>();
  auto* action = buffers.take<struct sigaction>();
  auto* mask = buffers.take<sigset_t>();
  Byte* random = buffers.take(256);
  return [=] {
    checked(uname(name), "uname");
    expect(std::strcmp(name->sysname, "Linux") == 0, "uname");
    checked(getrusage(RUSAGE_SELF, usage), "getrusage");
    expect(usage->ru_maxrss > 0, "getrusage");
    checked(getrlimit(RLIMIT_NOFILE, limit), "getrlimit");
    expect(limit->rlim_cur > 0, "getrlimit");
    checked(sched_getaffinity(0, sizeof *cpus, cpus), "sched_getaffinity");
    expect(CPU_COUNT(cpus) > 0, "sched_getaffinity");
    checked(sigaction(SIGUSR2, nullptr, action), "sigaction");
    expect(action->sa_handler == SIG_DFL, "sigaction");
    checked(pthread_sigmask(SIG_BLOCK, nullptr, mask), "sigprocmask");
    expect(sigismember(mask, SIGUSR1) == 0, "sigprocmask");
    expect(checked(getrandom(random, 256, 0), "getrandom") == 256, "getrandom");
    expect(std::any_of(random, random + 256, [](Byte byte) { return byte != 0; }), "getrandom");
  };
}

Use descriptors(ColdBuffers& buffers) {
  int* ends = buffers.take<int>(2, 32);
  return [=] {
    checked(pipe2(ends, O_CLOEXEC), "pipe2");
    expect(fcntl(ends[0], F_GETFD) >= 0 && fcntl(ends[1], F_GETFD) >= 0, "descriptors from pipe2");
    close(ends[0]);
    close(ends[1]);
  };
}

Use polls(ColdBuffers& buffers) {
  auto* to_poll = buffers.take<pollfd>(2);
  auto* to_add = buffers.take<epoll_event>();
  auto* events = buffers.take<epoll_event>(16);
  auto* set = buffers.take<fd_set>();
  auto* timeout = buffers.take<timespec>();
  auto* value = buffers.take<std::uint64_t>();
  int fd = static_cast<int>(checked(eventfd(0, EFD_CLOEXEC), "eventfd"));
  to_poll[0] = {fd, POLLIN, 0};
  to_poll[1] = {-1, POLLIN, 0};
  to_add->events = EPOLLIN;
  to_add->data.u64 = 0x1234567890abcdefU;
  FD_SET(fd, set);
  *timeout = {5, 0};
  *value = 77;
  return [=] {
    expect(write(fd, value, sizeof *value) == sizeof *value, "write to an eventfd");
    expect(poll(to_poll, 2, 5000) == 1 && to_poll[0].revents == POLLIN && to_poll[1].revents == 0, "poll");
    expect(pselect(fd + 1, set, nullptr, nullptr, timeout, nullptr) == 1 && FD_ISSET(fd, set), "pselect");
    int epoll = static_cast<int>(checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
    checked(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, to_add), "epoll_ctl");
    expect(epoll_wait(epoll, events, 16, 5000) == 1, "epoll_wait");
    expect(events[0].events == EPOLLIN && events[0].data.u64 == 0x1234567890abcdefU, "epoll_wait's event");
    *value = 0;
    expect(read(fd, value, sizeof *value) == sizeof *value && *value == 77, "read from an eventfd");
    close(epoll);
    close(fd);
  };
}

// In epoll_wait, in the kernel, while the array for its events gets cold.
Use epoll_while_cold(ColdBuffers& buffers) {
  auto* events = buffers.take<epoll_event>(16);
  int fd = static_cast<int>(checked(eventfd(0, EFD_CLOEXEC), "eventfd"));
  int epoll = static_cast<int>(checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = 4711;
  checked(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  auto* waiter = new std::thread([=] {
    expect(epoll_wait(epoll, events, 16, -1) == 1 && events[0].data.u64 == 4711, "epoll_wait that waited");
  });
  return [=] {
    std::uint64_t one = 1;
    expect(write(fd, &one, sizeof one) == sizeof one, "write to an eventfd");
    waiter->join();
    delete waiter;
    close(epoll);
    close(fd);
  };
}

Use clocks(ColdBuffers& buffers) {
  auto* by_vdso = buffers.take<timespec>();
  auto* by_kernel = buffers.take<timespec>();
  auto* duration = buffers.take<timespec>();
  auto* until = buffers.take<timespec>();
  *duration = {0, 1000000};
  checked(clock_gettime(CLOCK_MONOTONIC, until), "clock_gettime");
  return [=] {
    checked(clock_gettime(CLOCK_REALTIME, by_vdso), "clock_gettime");
    checked(syscall(SYS_clock_gettime, CLOCK_REALTIME, by_kernel), "clock_gettime");
    expect(by_vdso->tv_sec > 1000000000 && by_kernel->tv_sec >= by_vdso->tv_sec, "clock_gettime");
    checked(nanosleep(duration, duration), "nanosleep");
    expect(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, until, nullptr) == 0, "clock_nanosleep");
  };
}

volatile sig_atomic_t signals_seen = 0;
volatile sig_atomic_t signals_on_stack = 0;
Byte* signal_stack = nullptr;
constexpr std::size_t kSignalStack = 65536;

void on_signal(int, siginfo_t* info, void*) {
  auto* here = static_cast<Byte*>(__builtin_frame_address(0));
  signals_seen = signals_seen + (info->si_value.sival_int == 99);
  signals_on_stack = signals_on_stack + (here > signal_stack && here < signal_stack + kSignalStack);
}

// The kernel builds a signal's frame on an alternate stack that is cold.
Use signal_on_cold_stack(ColdBuffers& buffers) {
  Byte* stack = buffers.take_filled(kSignalStack, buffers.key());
  return [=] {
    signal_stack = stack;
    stack_t alternate{stack, 0, kSignalStack};
    stack_t old{};
    checked(sigaltstack(&alternate, &old), "sigaltstack");
    struct sigaction action {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    checked(sigaction(SIGUSR1, &action, nullptr), "sigaction");
    signals_seen = 0;
    signals_on_stack = 0;
    sigval value{};
    value.sival_int = 99;
    expect(pthread_sigqueue(pthread_self(), SIGUSR1, value) == 0, "pthread_sigqueue");
    expect(signals_seen == 1, "a signal on a cold stack");
    expect(signals_on_stack == 1, "the signal's stack");
    checked(sigaltstack(&old, nullptr), "sigaltstack");
    signal(SIGUSR1, SIG_DFL);
  };
}

// Threads sleep on a mutex and a condition while the pages of both get cold.
Use mutex_and_condition(ColdBuffers& buffers) {
  struct Shared {
    pthread_mutex_t mutex;
    Byte apart[kPageSize];
    pthread_cond_t condition;
    unsigned turn;
  };
  constexpr unsigned kTurns = 200;
  constexpr unsigned kPlayers = 3;
  auto* shared = buffers.take<Shared>();
  pthread_mutex_init(&shared->mutex, nullptr);
  pthread_cond_init(&shared->condition, nullptr);
  auto* threads = new std::vector<std::thread>;
  for (unsigned self = 1; self <= kPlayers; ++self) {
    threads->emplace_back([=] {
      for (unsigned i = 0; i < kTurns; ++i) {
        pthread_mutex_lock(&shared->mutex);
        while (shared->turn != self) pthread_cond_wait(&shared->condition, &shared->mutex);
        shared->turn = self == kPlayers ? 1 : self + 1;
        pthread_cond_broadcast(&shared->condition);
        pthread_mutex_unlock(&shared->mutex);
      }
    });
  }
  return [=] {
    pthread_mutex_lock(&shared->mutex);
    expect(shared->turn == 0, "turn before the start");
    shared->turn = 1;
    pthread_cond_broadcast(&shared->condition);
    pthread_mutex_unlock(&shared->mutex);
    for (std::thread& thread : *threads) thread.join();
    expect(shared->turn == 1, "turn at the end");
    delete threads;
  };
}

// exec takes path, arguments and environment from cold memory.
Use exec_from_cold(ColdBuffers& buffers) {
  char* path = buffers.take_text("/bin/sh");
  char** arguments = buffers.take<char*>(5);
  char** environment = buffers.take<char*>(2);
  arguments[0] = path;
  arguments[1] = buffers.take_text("-c");
  arguments[2] = buffers.take_text("test \"$0 $COLD_WORD\" = \"cold argument cold word\" && exit 33");
  arguments[3] = buffers.take_text("cold argument");
  environment[0] = buffers.take_text("COLD_WORD=cold word");
  int* status = buffers.take<int>();
  return [=] {
    pid_t child = fork();
    if (checked(child, "fork") == 0) {
      execve(path, arguments, environment);
      _exit(1);
    }
    checked(waitpid(child, status, 0), "waitpid");
    expect(WIFEXITED(*status) && WEXITSTATUS(*status) == 33, "exec with cold strings");
  };
}

// Threads that slept while their stacks got cold, then end: the kernel clears their thread ids.
Use sleepers_end(ColdBuffers&) {
  constexpr unsigned kSleepers = 50;
  auto* go = new std::atomic<bool>(false);
  auto* threads = new std::vector<std::thread>;
  for (unsigned i = 0; i < kSleepers; ++i) threads->emplace_back([=] { go->wait(false); });
  return [=] {
    *go = true;
    go->notify_all();
    for (std::thread& thread : *threads) thread.join();
    delete threads;
    delete go;
  };
}

// Threads start and end while a hog sweeps: a join that never returns is a lost thread id.
Use threads_under_pressure(ColdBuffers& buffers) {
  std::uint64_t key = buffers.key();
  return [=, &buffers] {
    std::atomic<bool> done{false};
    std::thread starter([&] {
      for (unsigned i = 0; i < 200; ++i) {
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < 8; ++t) {
          threads.emplace_back([=] {
            Byte frame[20000];
            fill_bytes(frame, sizeof frame, key + t * 32);
            check_bytes("stack of a short thread", frame, sizeof frame, key + t * 32);
          });
        }
        for (std::thread& thread : threads) thread.join();
      }
      done = true;
    });
    while (!done) buffers.make_cold();
    starter.join();
  };
}

constexpr Prepare kCalls[] = {
    paths,
    small_results,
    descriptors,
    polls,
    epoll_while_cold,
    clocks,
    signal_on_cold_stack,
    mutex_and_condition,
    exec_from_cold,
    sleepers_end,
    threads_under_pressure,
};

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) {
  return coldtest::run_accesses("kernel_calls", coldtest::parse_arguments(argc, argv), coldtest::kCalls);
}
