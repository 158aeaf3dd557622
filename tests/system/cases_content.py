"""Our own programs, each of which verifies every byte of its memory, past their limits."""

import re

from harness import (
    MIB,
    Failure,
    case,
    check,
    check_held,
    compare_under_limits,
    expect_line,
    need_command,
    need_root,
    program,
    run,
    run_limited,
    run_line,
    say,
    tool_lines,
)


@case(timeout_s=240, serial=True)
def churn():
    """Every call by which a program changes its memory."""
    compare_under_limits([program("churn"), "160"], whole_output=False)


@case(timeout_s=240, serial=True)
def churn_signal():
    """The same with faults served in the faulting thread."""
    compare_under_limits(
        [program("churn"), "96", "7", "1200"],
        fractions=[3],
        options=["--fault-path", "signal"],
        whole_output=False,
    )


@case(timeout_s=240, serial=True)
def reuse():
    """Addresses of evicted pages taken anew while others take them away."""
    compare_under_limits([program("reuse"), "96"], fractions=[3], whole_output=False)


@case(timeout_s=240, serial=True)
def joined():
    """mremap of what is one mapping to the program and several to the kernel."""
    compare_under_limits([program("joined"), "48"], fractions=[2])


@case(timeout_s=240, serial=True)
def early_child():
    """Children whose first faults are served by the parent."""
    compare_under_limits([program("early_child"), "48"], fractions=[2])


@case(timeout_s=240, serial=True)
def after_fork():
    """What was shared with a child that has ended goes like everything else."""
    argv = [program("after_fork"), "96"]
    native = run(argv)
    check(native.status == 0, f"native run failed: {native.describe()}")
    limit = native.watcher.peak // 2
    outcome = run_limited(limit, argv)
    check(outcome.status == 0, outcome.describe())
    check(outcome.last_line() == native.last_line(), outcome.describe())
    check_held(outcome, limit, "after a fork")
    # Every page comes back once; the hot quarter, which fits, a few times until the rest has gone.
    faults, pages = outcome.stats["pgmajfault"], 96 * MIB // 4096
    check(faults < 3 * pages, f"{faults} loads of {pages} pages: what the fork has shared did not go")


@case(timeout_s=240)
def early_child_signal():
    """The same on the signal path, where such a touch is one of the child's own."""
    outcome = run_limited(24 * MIB, [program("early_child"), "48"], ["--quiet", "--fault-path", "signal"])
    native = run([program("early_child"), "48"])
    check(outcome.status == 0 and outcome.last_line() == native.last_line(), outcome.describe())


@case(timeout_s=240, serial=True)
def fork_tree():
    """Forks of every kind from a process past its limit."""

    def check_raw_forks(outcome):
        stopped = len(re.findall(rb"raw fork: stopped", outcome.stdout))
        if stopped and not tool_lines(outcome.stderr):
            raise Failure(f"raw forks were stopped without a word: {outcome.describe()}")

    native = run([program("fork_tree"), "56"])
    check(native.status == 0, f"native run failed: {native.describe()}")
    for fraction in (2, 4):
        limit = native.watcher.peak // fraction
        outcome = run_limited(limit, [program("fork_tree"), "56"])
        check(outcome.status == 0, f"1/{fraction}: {outcome.describe()}")
        check(outcome.last_line() == native.last_line(), f"1/{fraction}: {outcome.describe()}")
        check_raw_forks(outcome)
        check_held(outcome, limit, f"1/{fraction}")


def check_kernel_access(name):
    outcome = compare_under_limits([program(name), "96"], fractions=[4], whole_output=False)
    cold, pages = map(int, re.search(rb"cold (\d+) of (\d+) buffer pages", outcome.stdout).groups())
    print(f"{cold} of {pages} buffer pages were cold")
    check(cold > pages / 2, f"only {cold} of {pages} buffer pages were cold: this proves nothing")


@case(timeout_s=240, serial=True)
def kernel_io():
    """The kernel reads and writes cold buffers: pipes, sockets, files, vmsplice."""
    check_kernel_access("kernel_io")


@case(timeout_s=240, serial=True)
def kernel_calls():
    """Paths, results, polls, futexes, signal stacks and exec in cold memory."""
    check_kernel_access("kernel_calls")


def check_cold_hot(*options, fractions=(4,)):
    compare_under_limits([program("cold_hot"), "96"], fractions=fractions, options=options)


@case(timeout_s=240, serial=True)
def cold_hot():
    check_cold_hot(fractions=(2, 4))


@case(timeout_s=240, serial=True)
def cold_hot_zstd():
    check_cold_hot("--codec", "zstd:1")


@case(timeout_s=240, serial=True)
def cold_hot_signal():
    check_cold_hot("--fault-path", "signal")


@case(timeout_s=120, serial=True)
def incompressible():
    """Without swap the limit can not be held: said once, counted, and the program goes on."""
    outcome = run_limited(48 * MIB, [program("incompressible"), "128"], options=("--swap", "none"))
    check(outcome.status == 0, outcome.describe())
    check(outcome.stats["limit_exceeded"] > 0, f"limit_exceeded does not tell: {outcome.stats}")
    lines = tool_lines(outcome.stderr)
    check(len(lines) == 2, f"expected one warning and the exit line: {lines}")


def smaps_of(pid):
    """(name, fields, flags) of each mapping."""
    mappings = []
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as smaps:
        for line in smaps:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                mappings.append((" ".join(line.split()[5:]), {}, []))
            elif line.startswith("VmFlags:"):
                mappings[-1][2].extend(line.split()[1:])
            elif line.endswith("kB\n"):
                key, value = line.split(":")
                mappings[-1][1][key] = int(value.split()[0])
    return mappings


@case(timeout_s=60)
def quiet_under():
    """A program under its limit is left alone, huge pages and all."""

    def look(process):
        seen = []
        for stop in ("idle", "used"):
            expect_line(process, stop)
            seen.append(smaps_of(process.pid))
            say(process)
        looks.append(seen)

    looks = []
    argv = [program("quiet_under"), "64"]
    native = run(argv, interact=look)
    outcome = run_limited(512 * MIB, argv, interact=look)
    for done in (native, outcome):
        check(done.status == 0, done.describe())
    check(outcome.stdout == native.stdout, outcome.describe())
    for counter in ("zswpout", "swpout_zero", "stored_pages"):
        check(outcome.stats[counter] == 0, f"{counter} is {outcome.stats[counter]} under the limit")
    for native_maps, maps in zip(*looks):
        registered = [
            m[0] or "anonymous"
            for m in maps
            if {"um", "uw", "ui"} & set(m[2]) and not m[0].startswith("[anon:coldpress")
        ]
        check(not registered, f"registered with a userfaultfd under the limit: {registered}")
        huge = [
            sum(
                m[1].get("AnonHugePages", 0) for m in some if not m[0].startswith("[anon:coldpress")
            )
            for some in (native_maps, maps)
        ]
        print(f"AnonHugePages: native {huge[0]} kB, limited {huge[1]} kB")
        check(huge[0] == huge[1], f"AnonHugePages: native {huge[0]} kB, limited {huge[1]} kB")


@case(timeout_s=240, serial=True)
def fork_tree_unprivileged():
    """Without CAP_SYS_PTRACE the kernel does not tell of forks: everything is brought back before each."""
    need_root()
    words = [need_command("setpriv"), "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    native = run([program("fork_tree"), "32"])
    check(native.status == 0, f"native run failed: {native.describe()}")
    limit = native.watcher.peak // 2
    outcome = run([*words, *run_line(limit, [program("fork_tree"), "32"], ["--quiet"])])
    check(outcome.status == 0, outcome.describe())
    check(outcome.last_line() == native.last_line(), outcome.describe())


def orphans(how, rounds, path):
    """What the children wrote. By a shell, which waits until they have closed what they write to: what the
    tool itself starts waits for others when it ends."""
    line = f'for i in $(seq {rounds}); do echo "$({program("orphan")} 40 {how})"; done'
    outcome = run_limited(16 * MIB, ["sh", "-c", line], ["--quiet", "--fault-path", path])
    return outcome.stdout.decode().split(), outcome


@case(timeout_s=120, serial=True)
def orphan():
    """The child of a process that ends as soon as it has forked has all of its memory."""
    for path in "thread", "signal":
        said, outcome = orphans("exit", 6, path)
        check(said == ["whole"] * 6, f"{path}: {said} {outcome.describe()}")


@case(timeout_s=120, serial=True)
def orphan_of_a_killed_process():
    """If its parent is killed before it was handed all, it is stopped: nothing reads zero."""
    whole = 0
    for path in "thread", "signal":
        said, outcome = orphans("kill", 10, path)
        check(set(said) <= {"whole"}, f"{path}: {said} {outcome.describe()}")
        whole += len(said)
    check(whole > 0, "no child was left to look")


DROP_AND_FORK = """
import os
pages = [os.urandom(8) * 512 for _ in range(16000)]
os.setresuid(65534, 65534, 65534)
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if all(page == page[:8] * 512 for page in pages) else 1)
    assert os.waitpid(child, 0)[1] == 0, "the child"
assert all(page == page[:8] * 512 for page in pages)
print("whole")
"""


@case(timeout_s=120)
def fork_after_dropping_privileges():
    """Such a child may not open an engine of its own; it is whole all the same."""
    need_root()
    outcome = run(run_line(32 * MIB, ["/usr/bin/python3", "-c", DROP_AND_FORK], ["--quiet"]))
    check(outcome.status == 0 and outcome.last_line() == b"whole", outcome.describe())


@case(timeout_s=60)
def advice():
    """madvise: PAGEOUT far from the limit, WILLNEED, COLD."""
    for path in ("thread", "signal"):
        argv = [program("advice"), "64", "5", "managed"]
        outcome = run(run_line(256 * MIB, argv, ["--quiet", "--fault-path", path]))
        check(outcome.status == 0, f"{path}: {outcome.describe()}")
    native = run([program("advice"), "64", "5"])
    check(native.status == 0 and native.stdout == outcome.stdout, "natively it is the same program")
