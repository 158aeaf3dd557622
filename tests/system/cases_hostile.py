"""Programs that do what they like with their own process."""

from harness import MIB, case, check, compare_under_limits, program, run_limited

MEMORY = "72"
SEED = "3"


def check_hostile(*acts, needs_stats=True):
    compare_under_limits(
        [program("hostile"), MEMORY, SEED, *acts], fractions=[3], needs_stats=needs_stats
    )


@case(timeout_s=120, serial=True)
def hostile_fds():
    """Closes and replaces all descriptors that it did not open."""
    check_hostile("fds")


@case(timeout_s=120, serial=True)
def hostile_raw_fds():
    """The same by system call, unseen by any libc wrapper."""
    check_hostile("raw_fds")


@case(timeout_s=120, serial=True)
def hostile_signals():
    check_hostile("signals")


@case(timeout_s=120)
def interrupted():
    """A handler touches memory that is out, also when it has interrupted a thread that brings a page in."""
    for path in "thread", "signal":
        outcome = run_limited(
            16 * MIB, [program("interrupted"), "48"], ["--quiet", "--fault-path", path]
        )
        check(outcome.status == 0 and outcome.last_line() == b"whole", outcome.describe())
        check(outcome.stats["zswpin"] > 10000, f"{outcome.stats}")


@case(timeout_s=120, serial=True)
def hostile_rlimits():
    check_hostile("rlimits", needs_stats=False)


@case(timeout_s=120, serial=True)
def hostile_locks():
    check_hostile("locks")


@case(timeout_s=120, serial=True)
def hostile_identity():
    check_hostile("identity")


@case(timeout_s=120, serial=True)
def hostile_privileges():
    """Becomes a user who may not use userfaultfd."""
    check_hostile("privileges")


@case(timeout_s=120, serial=True)
def hostile_all():
    check_hostile("locks", "fds", "signals", "identity", "privileges", "rlimits", needs_stats=False)
