"""Watches a process's anonymous memory from outside, as any monitoring would."""

import dataclasses
import threading
import time

INTERVAL_S = 0.005
GRACE_S = 0.2  # from when the limit was first reached
TOLERANCE_PART = 0.05
TOLERANCE_BYTES = 16 * 1024 * 1024
MIB = 1024 * 1024


def rss_anon(pid):
    """RssAnon in bytes; None once the process has no memory any more."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            for line in status:
                if line.startswith(b"RssAnon:"):
                    return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


@dataclasses.dataclass
class Verdict:
    held: bool
    limit: int
    allowed: int
    worst: int  # the highest sample after the grace time
    over_s: float  # time above what is allowed, after the grace time
    reached: bool
    judged: int  # how many samples that is from

    def __str__(self):
        over = (self.worst - self.limit) / MIB
        percent = 100 * self.worst / self.limit - 100
        return (
            f"limit {self.limit / MIB:.1f} MiB, allowed {self.allowed / MIB:.1f}, "
            f"worst {self.worst / MIB:.1f} ({over:+.1f} MiB, {percent:+.1f} %), "
            f"{self.over_s:.2f} s above what is allowed, {self.judged} samples judged"
            f"{'' if self.reached else ', never reached'}"
        )


class Watcher:
    """Samples in a thread of its own between __enter__ and __exit__."""

    def __init__(self, pid):
        self.pid = pid
        self.samples = []
        self.seconds = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self):
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self.seconds = time.monotonic() - self._start

    def _sample(self):
        while not self._stop.is_set():
            now = time.monotonic()
            value = rss_anon(self.pid)
            if value is not None:
                self.samples.append((now, value))
            self._stop.wait(INTERVAL_S)

    @property
    def peak(self):
        return max((value for _, value in self.samples), default=0)

    def judge(self, limit):
        """Was RssAnon within the tolerance from the grace time on after it first reached limit?"""
        allowed = limit + max(int(limit * TOLERANCE_PART), TOLERANCE_BYTES)
        first = next((at for at, value in self.samples if value >= limit), None)
        from_then = [] if first is None else [s for s in self.samples if s[0] >= first + GRACE_S]
        over_s = sum(
            after[0] - before[0]
            for before, after in zip(from_then, from_then[1:])
            if before[1] > allowed
        )
        worst = max(
            (value for _, value in from_then), default=self.peak if first is None else limit
        )
        return Verdict(
            worst <= allowed, limit, allowed, worst, over_s, first is not None, len(from_then)
        )
