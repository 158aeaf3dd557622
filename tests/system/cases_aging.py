"""Programs whose pages the kernel ages meanwhile, as its own reclaim or DAMON does on busy machines."""

import ctypes
import os

from harness import MIB, Failure, Skip, case, check, check_held, program, run, run_limited

SYS_PIDFD_OPEN, SYS_PROCESS_MADVISE, MADV_COLD = 434, 440, 20
LIBC = ctypes.CDLL(None, use_errno=True)


def writable_anonymous(pid):
    """[start, end) of each such mapping, the engine's frames among them."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        for line in maps:
            words = line.split()
            named = len(words) > 5 and not words[5].startswith("[")
            if words[1] == "rw-p" and not named:
                yield [int(word, 16) for word in words[0].split("-")]


def age_until_it_ends(process):
    """Clears accessed bits for as long as the process runs; returns how many ranges were aged."""
    pidfd = LIBC.syscall(SYS_PIDFD_OPEN, process.pid, 0)
    if pidfd < 0:
        raise Failure(f"pidfd_open: {os.strerror(ctypes.get_errno())}")
    aged = 0
    try:
        while process.poll() is None:
            try:
                ranges = list(writable_anonymous(process.pid))
            except (FileNotFoundError, ProcessLookupError):
                break
            for start, end in ranges:
                vector = (ctypes.c_uint64 * 2)(start, end - start)
                done = LIBC.syscall(SYS_PROCESS_MADVISE, pidfd, vector, 1, MADV_COLD, 0)
                if done < 0 and ctypes.get_errno() in (1, 38):  # EPERM, ENOSYS
                    raise Skip(f"process_madvise: {os.strerror(ctypes.get_errno())}")
                aged += done > 0
    finally:
        os.close(pidfd)
    return aged


@case(timeout_s=240, serial=True)
def churn_aged():
    """The accessed bits of pages change while they move."""
    native = run([program("churn"), "96"])
    check(native.status == 0, f"native run failed: {native.describe()}")
    limit = native.watcher.peak // 3
    aged = []
    outcome = run_limited(
        limit, [program("churn"), "96"], interact=lambda process: aged.append(age_until_it_ends(process))
    )
    check(outcome.status == 0, outcome.describe())
    check(outcome.last_line() == native.last_line(), outcome.describe())
    check(aged[0] > 1000, f"only {aged} ranges were aged")
    print(f"{aged[0]} ranges aged, {outcome.stats['zswpout']} pages out, limit {limit / MIB:.0f} MiB")
    check_held(outcome, limit, "aged")
