"""What pages take that are out: as soon as they are stored, and when they have been cold for ten seconds.

The same pages, filled once and pushed out: by `coldpress reclaim`, and by lowering the limit of a memory
cgroup with zram. Told is, for each page, what the pool takes; for coldpress with all of its tables.
"""

import contextlib
import errno
import json
import os
import subprocess
import time

from kernel import Ended, Group, Missing, Zram
from restore import Guardian
from tables import median

COLD_S = 10
PAGE = 4096


class Cold:
    def __init__(self, build, pages, progress):
        self.tool, self.driver = build / "bin/coldpress", build / "bin/bench-driver"
        self.pages, self.progress = pages, progress

    def filled(self, stack, mib, under=(), preexec=None):
        """A process that has filled its memory, and waits."""
        argv = [str(self.driver), "--step", "--mib", str(mib), "--content", str(self.pages)]
        argv += ["--phases", "seq.read", "--ops", "1", "--threads", "1"]
        process = subprocess.Popen(
            [*under, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=preexec
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        if not process.stdout.readline():
            raise Ended("the driver did not fill its memory")
        return process

    def coldpress(self, mib, wait_s=COLD_S):
        with contextlib.ExitStack() as stack:
            under = [str(self.tool), "run", "--quiet", "--swap", "none", "--limit", f"{mib * 2}M", "--"]
            process = self.filled(stack, mib, under)

            def stat():
                asked = [str(self.tool), "stat", str(process.pid), "--json"]
                now = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
                out = now["stored_pages"] + now["same_filled_pages"]
                return out, (now["pool_bytes"] + now["metadata_bytes"]) / out

            # As much as goes: the driver's buffers do not.
            subprocess.run([str(self.tool), "reclaim", str(process.pid), f"{mib}M"], capture_output=True)
            pages, at_once = stat()
            time.sleep(wait_s)
            return {"pages": pages, "at_once": at_once, "cold": stat()[1]}

    def zram(self, mib):
        with contextlib.ExitStack() as stack:
            guardian = stack.enter_context(Guardian())
            group = Group(guardian, f"coldpress-bench-{os.getpid()}")
            group.limit((mib * 2) << 20)
            device = Zram(guardian, (mib * 2) << 20)
            guardian.undo("kill_group", group.path)
            self.filled(stack, mib, preexec=group.enter)
            for limit_mib in range(mib, 7, -8):
                try:
                    group.limit(limit_mib << 20)
                except OSError as error:
                    if error.errno != errno.EBUSY:
                        raise
                    break  # the rest does not go
            pages = device.stored_bytes() // PAGE
            if pages < mib * 256 // 2:
                raise Ended(f"the kernel took out {pages} pages only")
            at_once = device.pool_bytes() / pages
            return {"pages": pages, "at_once": at_once, "cold": at_once}

    def all(self, quick, tiny):
        mib, repeats = (32, 1) if tiny else (256, 1 if quick else 3)
        rows, skipped = [], {}
        wait_s = 1 if tiny else COLD_S
        for mode, measure in (("zram", self.zram), ("run", lambda mib: self.coldpress(mib, wait_s))):
            runs = []
            for repeat in range(repeats):
                self.progress(f"cold {repeat + 1}/{repeats}: {mode}")
                try:
                    runs.append(measure(mib))
                except (Ended, Missing) as reason:
                    skipped[f"cold pages, {mode}"] = str(reason)
            if runs:
                rows.append({"mode": mode, "runs": runs})
        return rows, skipped


def table(rows):
    if not rows:
        return ""

    zram = next((median(row["runs"], "at_once") for row in rows if row["mode"] == "zram"), None)
    out = [
        f"Pages that are out, bytes each in pool and tables, at once and after {COLD_S} s:",
        "",
        "| mode | pages out | bytes at once | of zram | bytes when cold | of zram |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        runs, told = row["runs"], []
        for key in ("at_once", "cold"):
            taken = median(runs, key)
            told.append(f"{taken:.0f} | {f'{taken / zram:.2f}' if zram else '-'}")
        out.append(f"| {row['mode']} | {median(runs, 'pages'):,.0f} | {' | '.join(told)} |")
    return "\n".join(out) + "\n"
