"""Results as Markdown. Every figure is a median; the spread is (largest - smallest) / median."""

import statistics

US = 1e3


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def per_op(row, key="wall_ns"):
    return statistics.median(run[key] / run["ops"] for run in row["runs"])


def spread(row):
    values = [run["wall_ns"] / run["ops"] for run in row["runs"]]
    return (max(values) - min(values)) / statistics.median(values)


def memory_mib(row):
    """What the mode could use in all."""
    return statistics.median(run["limit_mib"] + run["outside_mib"] for run in row["runs"])


def app_spread(row):
    values = [run["seconds"] for run in row["runs"]]
    return (max(values) - min(values)) / statistics.median(values)


def faults(row, key, engine_key):
    return statistics.median(run.get(engine_key, run[key]) for run in row["runs"])


def micro_tables(rows):
    out = []
    cases = list(dict.fromkeys(row["case"] for row in rows))
    for case in cases:
        of_case = [row for row in rows if row["case"] == case]
        sample = of_case[0]
        out.append(
            f"### {case}: {sample['mib']} MiB, with zram {sample['mib'] // sample['overcommit']} MiB "
            "of them uncompressed\n"
        )
        out.append(
            "| phase | mode | MiB in all | us/op | of zram | spread | CPU us/op | p50 us | p99 us "
            "| p99.9 us | major faults | minor |"
        )
        out.append("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
        for phase in dict.fromkeys(row["phase"] for row in of_case):
            of_phase = [row for row in of_case if row["phase"] == phase]
            zram = next((per_op(row) for row in of_phase if row["mode"] == "zram"), None)
            for row in of_phase:
                ratio = f"{per_op(row) / zram:.2f}" if zram else "-"
                major = faults(row, "majflt", "pgmajfault")
                minor = statistics.median(run["minflt"] for run in row["runs"])
                # Older results have no counters of the engine for these.
                counted = not row["mode"].startswith("run") or "pgmajfault" in row["runs"][0]
                shown = f"{major:,.0f} | {minor:,.0f}" if counted else "- | -"
                whole = "-" if row["mode"] == "native" else f"{memory_mib(row):.0f}"
                tails = [median(row["runs"], key) / US for key in ("p50_ns", "p99_ns", "p999_ns")]
                out.append(
                    f"| {phase} | {row['mode']} | {whole} | {per_op(row) / US:.2f} | "
                    f"{ratio} | {spread(row):.0%} | "
                    f"{per_op(row, 'cpu_ns') / US:.2f} | "
                    + " | ".join(f"{tail:.1f}" for tail in tails)
                    + f" | {shown} |"
                )
        out.append("")
    return "\n".join(out)


def app_table(rows):
    if not rows:
        return ""
    out = [
        "| application | limit | mode | seconds | runs | spread | of native | of zram | CPU s | p99 us "
        "| major faults | peak MiB in all |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for app in dict.fromkeys(row["app"] for row in rows):
        of_app = [row for row in rows if row["app"] == app]
        native = next(median(row["runs"], "seconds") for row in of_app if row["mode"] == "native")
        for row in of_app:
            seconds = median(row["runs"], "seconds")
            zram = [
                median(other["runs"], "seconds")
                for other in of_app
                if other["mode"] == "zram" and other["percent"] == row["percent"]
            ]
            tail = [run["p99_us"] for run in row["runs"] if run.get("p99_us") is not None]
            out.append(
                f"| {app} | {row['percent']} % | {row['mode']} | {seconds:.2f} | "
                f"{len(row['runs'])} | {app_spread(row):.0%} | {seconds / native:.2f} | "
                f"{f'{seconds / zram[0]:.2f}' if zram else '-'} | {median(row['runs'], 'cpu_seconds'):.2f} | "
                f"{f'{statistics.median(tail):.0f}' if tail else '-'} | "
                f"{median(row['runs'], 'major'):,.0f} | "
                f"{median(row['runs'], 'peak_mib'):.0f} |"
            )
    return "\n".join(out) + "\n"


def quiet_table(rows):
    if not rows:
        return ""
    out = [
        "Far from the limit, native and `coldpress run` in turn:",
        "",
        "| application | native s | run s | of native | spread of native | CPU of native |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        native, limited = (row["runs"][mode] for mode in ("native", "run-thread"))
        seconds = [run["seconds"] for run in native]
        cpu = median(limited, "cpu_seconds") / median(native, "cpu_seconds")
        out.append(
            f"| {row['app']} | {statistics.median(seconds):.3f} | {median(limited, 'seconds'):.3f} | "
            f"{median(limited, 'seconds') / statistics.median(seconds):.3f} | "
            f"{(max(seconds) - min(seconds)) / statistics.median(seconds):.1%} | {cpu:.3f} |"
        )
    return "\n".join(out) + "\n"


def parts_table(rows):
    if not rows:
        return ""
    out = ["| part | time | spread | |", "|---|---:|---:|---|"]
    for row in rows:
        middle = statistics.median(row["ns"])
        more = f"compresses to 1/{row['ratio']:.2f}" if "ratio" in row else ""
        if "pool_over_stored" in row:
            more = f"pool over stored bytes: {row['pool_over_stored']:.2f}"
        width = (max(row["ns"]) - min(row["ns"])) / middle
        out.append(f"| {row['name']} | {middle:,.0f} ns | {width:.0%} | {more} |")
    return "\n".join(out) + "\n"
