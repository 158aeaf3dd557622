"""The same accesses in every mode: native, coldpress by `run` and by the library, zram and zswap.

The same memory in every mode, too, pool and all. A limit of coldpress contains its compressed pages; those of
zram lie outside of its memory cgroup, and so do zswap's under cgroup v1. So zram goes first, its cgroup
limited to 1/overcommit of the memory. That and what its pool took at most is what everybody gets in all; the
first run of each case with zswap under v1 only tells how large its pool gets, which then is taken off.
"""

import contextlib
import ctypes
import dataclasses
import json
import mmap
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

from kernel import Ended, Group, Missing, Zram, Zswap, cgroup_version
from restore import Guardian

PHASES = "seq.read,rand.read,rand.write,seq.write,zipf.read,shift.read"
MODES = ["zram", "native", "zswap", "run-thread", "run-signal", "library-thread", "library-signal"]
RUN_TIMEOUT_S = 300


@dataclasses.dataclass(frozen=True)
class Case:
    """One setting of the driver."""

    content: str  # "real", "random" or "zero"
    overcommit: int
    threads: int
    mib: int
    ops: int

    def limit_mib(self):
        return self.mib // self.overcommit

    def title(self):
        return f"{self.content}, {self.overcommit}x, {self.threads} thread{'s' * (self.threads > 1)}"


def cpus():
    return len(os.sched_getaffinity(0))


def cases(quick, tiny):
    if tiny:
        return [Case("real", 4, 1, 64, 2000)]
    if quick:
        return [Case("real", 4, 1, 256, 20000), Case("real", 4, 2, 256, 20000)]
    size, ops = 256, 60000
    threads = [Case("real", 4, count, size, ops) for count in (2, 4) if count <= max(cpus(), 2)]
    return [
        Case("real", 4, 1, size, ops),
        *threads,
        Case("real", 2, 1, size, ops),
        Case("real", 8, 1, size, ops),
        # Nothing is won by compressing these: what it costs to find out.
        Case("random", 2, 1, size // 2, ops // 2),
        Case("zero", 4, 1, size, ops),
    ]


class Sampler(threading.Thread):
    """Memory of a process from outside, over time: RssAnon, and what the pool takes beside it."""

    def __init__(self, pid, pool_bytes):
        super().__init__(daemon=True)
        self.pid, self.pool_bytes, self.samples, self.done = pid, pool_bytes, [], False

    def run(self):
        start = time.monotonic()
        while not self.done:
            try:
                status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
            except OSError:
                return
            rss = [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")]
            if rss:
                pool = self.pool_bytes() >> 10 if self.pool_bytes else 0
                self.samples.append((round(time.monotonic() - start, 3), rss[0], pool))
            time.sleep(0.05)

    def series(self, most=150):
        self.done = True
        self.join()
        step = len(self.samples) // most + 1
        return self.samples[::step]


def keep_in_memory(path):
    """Read in and locked: else the pages of the file would be charged to whoever meets them first."""
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(len(mapped))) != 0:
        raise RuntimeError(f"can not lock {path} in memory ({os.strerror(ctypes.get_errno())}): ulimit -l")
    return mapped


class Micro:
    def __init__(self, build, pages, progress, deadline):
        self.tool, self.driver = build / "bin/coldpress", build / "bin/bench-driver"
        self.pages, self.progress, self.deadline = pages, progress, deadline
        self.kept = keep_in_memory(pages)
        self.pools = {}  # MiB outside of the limit, by case and mode

    def limit_of(self, mode, case):
        if mode == "zram":
            return case.limit_mib()
        whole = case.limit_mib() + self.pools.get((case, "zram"), self.guess(case))
        return whole - self.pools.get((case, mode), 0)

    def command(self, mode, case, seed, limit_mib, stats):
        options = {
            "mib": case.mib,
            "limit-mib": limit_mib,
            "window-mib": case.limit_mib() * 3 // 4,
            "content": self.pages if case.content == "real" else case.content,
            "phases": PHASES,
            "ops": case.ops,
            "threads": case.threads,
            "seed": seed,
        }
        argv = [str(self.driver), "--step"]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        if mode.startswith("library"):
            argv += ["--pager", mode.split("-")[1]]
        if mode.startswith("run"):
            under = ["run", "--quiet", "--swap", "none", "--limit", f"{limit_mib}M"]
            under += ["--fault-path", mode.split("-")[1]]
            argv = [str(self.tool), *under, "--stats", str(stats), "--", *argv]
        return argv

    def run(self, mode, case, seed):
        """The driver's lines for one run, memory over time, counters."""
        limit_mib = self.limit_of(mode, case)
        with contextlib.ExitStack() as stack:
            group, device = None, None
            stats = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()), "stats.json")
            if mode in ("zram", "zswap"):
                guardian = stack.enter_context(Guardian())
                group = Group(guardian, f"coldpress-bench-{os.getpid()}")
                group.limit(limit_mib << 20)
                size = (case.mib * 2) << 20
                device = Zram(guardian, size) if mode == "zram" else Zswap(guardian, size, "/var/tmp")
                guardian.undo("kill_group", group.path)
            process = subprocess.Popen(
                self.command(mode, case, seed, limit_mib, stats),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=group.enter if group else None,
            )
            sampler = Sampler(process.pid, device.pool_bytes if device else None)
            sampler.start()
            late = threading.Timer(RUN_TIMEOUT_S, process.kill)
            late.start()
            try:
                lines = self.listen(process, mode.startswith("run"))
                error = process.stderr.read()
                process.wait()
            finally:
                in_time = late.is_alive()
                late.cancel()
                process.kill()
                process.wait()
                sampler.done = True
            if not in_time:
                raise Ended(f"not done after {RUN_TIMEOUT_S} s")
            memory = sampler.series()
            if process.returncode == -signal.SIGKILL and device:
                raise Ended(group.how_killed())
            if process.returncode != 0:
                raise RuntimeError(
                    f"{mode}, {case.title()}: exit {process.returncode}: {error.strip()[-500:]}"
                )
            whole = json.loads(stats.read_text()) if stats.exists() else {}
        counted = ("pgfault", "pgmajfault", "limit_exceeded")
        counters = {key: whole[key] for key in counted if key in whole}
        counters["limit_mib"] = limit_mib
        outside = mode == "zram" or (mode == "zswap" and cgroup_version() == 1)
        counters["outside_mib"] = -(-max((sample[2] for sample in memory), default=0) >> 10) if outside else 0
        if device:
            counters["compressor"] = device.compressor
        for line in lines:
            line["limit_mib"], line["outside_mib"] = limit_mib, counters["outside_mib"]
        return lines, memory, counters

    def listen(self, process, managed):
        """The driver's lines. It waits after each, so that the engine's counters can be asked for."""
        lines, before = [], {}
        for text in process.stdout:
            line = json.loads(text)
            if managed:
                asked = [str(self.tool), "stat", str(process.pid), "--json"]
                told = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
                now = json.loads(told.stdout)
                line |= {key: now[key] - before.get(key, 0) for key in ("pgfault", "pgmajfault")}
                before = now
            lines.append(line)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write("\n")
                process.stdin.flush()
        return lines

    @staticmethod
    def guess(case):
        """What zram would take, where there is none: by the ratio that lz4 usually reaches."""
        ratio = {"real": 2.5, "random": 1, "zero": 100}[case.content]
        return int((case.mib - case.limit_mib()) / ratio) + 1

    def calibrated(self, mode, case):
        """One run; the first of a mode whose pool lies outside of its limit tells how large that gets."""
        found = self.run(mode, case, 1)
        if found[2]["outside_mib"] == 0 or (case, mode) in self.pools:
            return found
        self.pools[case, mode] = found[2]["outside_mib"]
        return found if mode == "zram" else self.run(mode, case, 1)

    def all(self, quick, tiny, modes=MODES):
        """A list of {case, mode, phase, runs: [...]}, and what was left out with the reason."""
        results, memories, skipped, ended = {}, [], {}, {}
        repeats = 1 if tiny else 2 if quick else 3
        todo = cases(quick, tiny)
        for repeat in range(repeats):
            for case in todo:
                # zram tells what the others get; after that, nobody is always first.
                turn = repeat % len(modes)
                for mode in modes[turn:] + modes[:turn]:
                    name = f"{mode}, {case.title()}"
                    if mode in skipped or any("not done" in reason for reason in ended.get(name, [])):
                        continue
                    if time.monotonic() > self.deadline:
                        skipped.setdefault("further runs of accesses", "the time was up")
                        continue
                    self.progress(f"micro {repeat + 1}/{repeats}: {case.title()}: {mode}")
                    try:
                        lines, memory, counters = self.calibrated(mode, case)
                    except Ended as reason:
                        self.progress(f"{name}: {reason}: this run is left out")
                        ended.setdefault(name, []).append(str(reason))
                        continue
                    except Missing as reason:
                        skipped[mode] = str(reason)
                        self.progress(f"left out: {mode}: {reason}")
                        continue
                    for line in lines:
                        results.setdefault((case, mode, line["phase"]), []).append(line)
                    entry = {"case": case.title(), "mode": mode, "kib": memory, "counters": counters}
                    if all((seen["case"], seen["mode"]) != (case.title(), mode) for seen in memories):
                        memories.append(entry)
        for name, reasons in ended.items():
            skipped[name] = f"{reasons[0]} ({len(reasons)} of {repeats} times)"
        rows = [
            {"case": case.title(), **dataclasses.asdict(case), "mode": mode, "phase": phase, "runs": runs}
            for (case, mode, phase), runs in results.items()
        ]
        return rows, memories, skipped
