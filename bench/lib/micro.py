"""The same accesses in every mode: native, coldpress by `run` and by the library, zram and zswap.

The same memory in every mode, too. A limit of coldpress contains its compressed pages, and so does a memory
cgroup's with zswap; with zram they lie outside of the cgroup. So zram is measured first, under a cgroup limit
of 1/overcommit of the memory, and the others get that limit and what zram's pool took at most.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

from kernel import KILLED, Ended, Group, Missing, Zram, Zswap
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


def cases(quick, tiny):
    if tiny:
        return [Case("real", 4, 1, 64, 2000)]
    if quick:
        return [Case("real", 4, 1, 256, 20000), Case("real", 4, 2, 256, 20000)]
    size, ops = 256, 60000
    return [
        Case("real", 4, 1, size, ops),
        Case("real", 4, 2, size, ops),
        Case("real", 2, 1, size, ops),
        Case("real", 8, 1, size, ops),
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


class Micro:
    def __init__(self, build, pages, progress):
        self.tool, self.driver = build / "bin/coldpress", build / "bin/bench-driver"
        self.pages, self.progress = pages, progress

    def run(self, mode, case, seed, pool_mib):
        """The driver's lines for one run, memory over time, counters."""
        limit_mib = case.limit_mib() + (pool_mib if mode != "zram" else 0)
        content = str(self.pages) if case.content == "real" else case.content
        argv = [
            str(self.driver),
            "--mib",
            str(case.mib),
            "--limit-mib",
            str(limit_mib),
            "--window-mib",
            str(case.limit_mib() * 3 // 4),
            "--content",
            content,
        ]
        argv += [
            "--phases",
            PHASES,
            "--ops",
            str(case.ops),
            "--threads",
            str(case.threads),
            "--seed",
            str(seed),
        ]
        with contextlib.ExitStack() as stack:
            enter, device = None, None
            stats = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()), "stats.json")
            if mode in ("zram", "zswap"):
                guardian = stack.enter_context(Guardian())
                group = Group(guardian, f"coldpress-bench-{os.getpid()}")
                group.limit(limit_mib << 20)
                size = (case.mib * 2) << 20
                device = Zram(guardian, size) if mode == "zram" else Zswap(guardian, size, "/var/tmp")
                enter = group.enter
            elif mode.startswith("library"):
                argv += ["--pager", mode.split("-")[1]]
            elif mode.startswith("run"):
                argv = [
                    str(self.tool),
                    "run",
                    "--quiet",
                    "--limit",
                    f"{limit_mib}M",
                    "--fault-path",
                    mode.split("-")[1],
                    "--stats",
                    str(stats),
                    "--",
                    *argv,
                ]
            process = subprocess.Popen(
                argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=enter
            )
            sampler = Sampler(process.pid, device.pool_bytes if device else None)
            sampler.start()
            try:
                out, error = process.communicate(timeout=RUN_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise Ended(f"not done after {RUN_TIMEOUT_S} s") from None
            finally:
                process.kill()
                process.wait()
            memory = sampler.series()
            if process.returncode == -signal.SIGKILL and device:
                raise Ended(KILLED)
            if process.returncode != 0:
                raise RuntimeError(
                    f"{mode}, {case.title()}: exit {process.returncode}: {error.strip()[-500:]}"
                )
            lines = [json.loads(line) for line in out.splitlines()]
            whole = json.loads(stats.read_text()) if stats.exists() else {}
        pool = max((sample[2] for sample in memory), default=0)
        whole["pool_mib"], whole["limit_mib"] = -(-pool >> 10) if device else 0, limit_mib
        return (
            lines,
            memory,
            {
                key: whole[key]
                for key in ("limit_mib", "pool_mib", "pgfault", "pgmajfault", "limit_exceeded")
                if key in whole
            },
        )

    @staticmethod
    def guess(case):
        """What zram would take, where there is none: by the ratio that lz4 usually reaches."""
        ratio = {"real": 2.5, "random": 1, "zero": 100}[case.content]
        return int((case.mib - case.limit_mib()) / ratio) + 1

    def all(self, quick, tiny, modes=MODES):
        """A list of {case, mode, phase, runs: [...]}, and what was left out with the reason."""
        results, memories, skipped, pools, ended = {}, [], {}, {}, {}
        repeats = 1 if tiny else 2 if quick else 3
        todo = cases(quick, tiny)
        for repeat in range(repeats):
            for case in todo:
                for mode in modes:
                    if mode in skipped:
                        continue
                    self.progress(f"micro {repeat + 1}/{repeats}: {case.title()}: {mode}")
                    try:
                        lines, memory, whole = self.run(mode, case, 1, pools.get(case, self.guess(case)))
                    except Ended as reason:
                        name = f"{mode}, {case.title()}"
                        self.progress(f"{name}: {reason}: this run is left out")
                        ended.setdefault(name, []).append(str(reason))
                        continue
                    except Missing as reason:
                        skipped[mode] = str(reason)
                        self.progress(f"left out: {mode}: {reason}")
                        continue
                    if mode == "zram":
                        pools[case] = whole["pool_mib"]
                    for line in lines:
                        key = (case, mode, line["phase"])
                        results.setdefault(key, []).append(line)
                    if repeat == 0 or mode not in {entry["mode"] for entry in memories}:
                        memories.append(
                            {"case": case.title(), "mode": mode, "kib": memory, "counters": whole}
                        )
        for name, reasons in ended.items():
            skipped[name] = f"{reasons[0]} ({len(reasons)} of {repeats} times)"
        rows = [
            {"case": case.title(), **dataclasses.asdict(case), "mode": mode, "phase": phase, "runs": runs}
            for (case, mode, phase), runs in results.items()
        ]
        return rows, memories, skipped
