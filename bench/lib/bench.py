"""The benchmark beside the kernel; started by script/bench, which builds first.

Writes bench/results/DATE-MACHINE.json and beside it a Markdown table and charts.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import charts
import tables
from apps import Apps
from micro import Micro
from parts import run_parts

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = 16384


def machine():
    """What the figures depend on. No host name: results are committed."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    version = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cpu": cpu[1].strip() if cpu else "unknown",
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": memory >> 10,
        "kernel": re.match(r"[\d.]+", os.uname().release)[0],
        "version": version,
    }


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class Progress:
    def __init__(self):
        self.start = time.monotonic()

    def __call__(self, text):
        print(f"[{time.monotonic() - self.start:6.0f} s] {text}", flush=True)


def draw(result, directory):
    """The charts; returns their file names with titles."""
    made = []

    def save(name, title, svg):
        if svg:
            (directory / name).write_text(svg)
            made.append((name, title))

    rows = result.get("micro", [])
    latency, throughput = {}, {}
    for row in rows:
        if row["content"] != "real" or row["threads"] != 1 or row["phase"] != "rand.read":
            continue
        throughput.setdefault(row["mode"], []).append(
            (100 / row["overcommit"], 1e6 / tables.per_op(row) * 1e3)
        )
        if row["overcommit"] != 4:
            continue
        total, seen, line = sum(count for _, count in row["runs"][0]["histogram"]), 0, []
        for edge, count in row["runs"][0]["histogram"]:
            seen += count
            if edge >= 50 and seen < total:
                line.append((edge / 1000, 1 / (1 - seen / total)))
        latency[row["mode"]] = line
    title = "Random reads at 4 times overcommit: how many take longer"
    save(
        "latency.svg",
        title,
        charts.line_chart(title, "microseconds", "one of so many takes longer", latency, True, True),
    )
    if any(len(line) > 1 for line in throughput.values()):
        title = "Random reads a second over the limit"
        save(
            "throughput.svg",
            title,
            charts.line_chart(
                title,
                "limit, % of the memory",
                "reads/s",
                {name: sorted(line) for name, line in throughput.items()},
                False,
                True,
            ),
        )
    series = {}
    for memory in result.get("memory", []):
        if memory["case"].startswith("real, 4x, 1 "):
            series[memory["mode"]] = [(at, (rss + pool) / 1024) for at, rss, pool in memory["kib"]]
    title = "Memory over time, the kernel's pool included"
    save("memory.svg", title, charts.line_chart(title, "seconds", "MiB", series))
    return made


def markdown(result, pictures):
    machine_of = result["machine"]
    out = [
        f"# Benchmark of {result['date']}",
        "",
        f"{machine_of['cpu']}, {machine_of['cpus']} cpus, {machine_of['memory_mib']} MiB, "
        f"Linux {machine_of['kernel']}, "
        f"version {machine_of['version']}. Medians; spread is (largest - smallest) / median.",
        "",
    ]
    for mode, reason in result.get("left_out", {}).items():
        out.append(f"Left out: {mode}: {reason}.\n")
    for name, title in pictures:
        out.append(f"![{title}]({name})\n")
    if result.get("micro"):
        out += ["## Accesses", "", tables.micro_tables(result["micro"])]
    if result.get("parts"):
        out += ["## Parts", "", tables.parts_table(result["parts"])]
    if result.get("apps"):
        out += ["## Applications", "", tables.app_table(result["apps"])]
    if result.get("quiet"):
        out += ["## Far from the limit", "", tables.quiet_table(result["quiet"])]
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        default="all",
        choices=["micro", "kernel", "apps", "quiet", "parts", "all"],
        help="micro: accesses in coldpress's modes; kernel: the same beside zram and zswap; apps; parts",
    )
    parser.add_argument("--quick", action="store_true", help="small and once: a few minutes")
    parser.add_argument("--tiny", action="store_true", help="only shows that the benchmark works")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--output", type=pathlib.Path, help="directory (default: bench/results)")
    args = parser.parse_args()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: sys.exit("bench: stopped"))
    progress = Progress()
    result = {
        "format": 1,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "left_out": {},
        "parameters": {"what": args.what, "quick": args.quick, "tiny": args.tiny},
    }
    name = f"{result['date']}-{slug(result['machine']['cpu'])}"
    output = args.output or ROOT / "bench/results" / name
    output.mkdir(parents=True, exist_ok=True)
    if args.what in ("micro", "kernel", "all"):
        pages = args.build / "pages.bin"
        if not pages.exists():
            progress("micro: dumping pages of running programs")
            subprocess.run([str(ROOT / "bench/dump_pages"), str(pages), str(PAGES)], check=True, timeout=200)
        modes = {"micro": ["native", "run-thread", "run-signal", "library-thread", "library-signal"]}.get(
            args.what
        )
        micro = Micro(args.build, pages, progress)
        rows, memory, skipped = micro.all(args.quick, args.tiny, *([modes] if modes else []))
        result.update(micro=rows, memory=memory)
        result["left_out"].update(skipped)
    if args.what in ("parts", "all"):
        result["parts"] = run_parts(args.build, args.quick or args.tiny, progress)
    if args.what in ("apps", "all"):
        result["apps"], skipped = Apps(args.build, progress).all(args.quick, args.tiny)
        result["left_out"].update(skipped)
    if args.what in ("quiet", "all"):
        result["quiet"] = Apps(args.build, progress).quiet(args.quick, args.tiny)
    path = output / "result.json"
    path.write_text(json.dumps(result, separators=(",", ":")) + "\n")
    text = markdown(result, draw(result, output))
    (output / "README.md").write_text(text)
    print(text)
    progress(f"written: {path}")


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"bench: {error}")
