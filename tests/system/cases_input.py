"""Bad input to the tool: one line on stderr, the right exit code, and nothing started."""

import os
import pathlib
import struct
import subprocess
import tempfile

from harness import TOOL, Skip, call, case, check, need_command, need_root, program, run_line

USAGE = 2
NOT_EXECUTABLE = 126
NOT_FOUND = 127
EM_386 = 3


def expect_refusal(argv, codes, what):
    done = call(argv)
    check(
        done.returncode in codes,
        f"{what}: exit {done.returncode}, expected {codes}; stderr {done.stderr!r}",
    )
    lines = done.stderr.splitlines()
    check(
        len(lines) == 1 and lines[0].startswith("coldpress"),
        f"{what}: expected one line from coldpress on stderr: {done.stderr!r}",
    )
    check(done.stdout == "", f"{what}: wrote to stdout: {done.stdout!r}")


def refuse_options(*option_lists):
    """Each list of options must be refused before the program is started."""
    with tempfile.TemporaryDirectory() as directory:
        mark = pathlib.Path(directory, "started")
        for options in option_lists:
            expect_refusal(
                [TOOL, "run", *options, "--", need_command("touch"), str(mark)],
                [USAGE],
                " ".join(options),
            )
            check(not mark.exists(), f"{options}: the program was started")


BAD_SIZES = [
    *("0 abc 10X -5M -1 1K 4096 64M64 64MB 1e3M 0x10000000 M 1.5.2G --quiet".split()),
    *("99999999999999999999G 18446744073709551616 17179869184G".split()),
    "",
    " ",
]

BAD_OPTIONS = """
    --no-such-option
    -Z
    --codec gzip
    --codec zstd:99
    --codec zstd:
    --codec zstd:x
    --codec lz4:
    --codec
    --fault-path polling
    --swap
    --swap none --swap auto
    --swap ram:
    --swap ram:1K
    --swap ram:64M --swap ram:64M --swap ram:64M --swap ram:64M --swap ram:64M
    --swap /nowhere/at/all,size=64M
    --swap /tmp,size=64M
    --swap /dev/null,size=64M
    --swap /tmp/x,size=many
    --swap /tmp/x,priority=1
    --max-pool-percent 101
    --fault-path
    --stats /proc/no/such/directory/stats.json
    --stats /
    --stats
    --limit abc
"""


@case()
def bad_sizes():
    refuse_options(*(["--limit", text] for text in BAD_SIZES), ["--limit"])


@case()
def bad_options():
    limit = ["--limit", "64M"]
    refuse_options(*([*limit, *line.split()] for line in BAD_OPTIONS.strip().splitlines()))
    refuse_options([*limit, "--codec", ""], [*limit, "--fault-path", ""])


@case()
def bad_commands():
    for words in (
        ["no-such-command"],
        ["--no-such-option"],
        ["run", "--limit", "64M"],
        ["run", "--limit", "64M", "--"],
        ["stat"],
        ["stat", "abc"],
        ["stat", "-1"],
        ["stat", "0"],
        ["stat", "1", "2", "3"],
        ["stat", "99999999999999999999"],
    ):
        expect_refusal([TOOL, *words], [USAGE], " ".join(words))


@case()
def limit_takes_common_sizes():
    """What is refused above is not all sizes."""
    for text in ("64M", "64m", "1G", "65536K", str(64 * 1024 * 1024), "64MiB"):
        done = call(run_line(text, [need_command("true")], ["--quiet"]))
        check(done.returncode == 0, f"--limit {text}: {done.returncode}: {done.stderr}")


def make_executable(path, content):
    path.write_bytes(content)
    path.chmod(0o755)
    return str(path)


def elf32_header():
    """An executable that is 32-bit in all that can be told from its header."""
    ident = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    return (
        ident
        + struct.pack("<HHIIIIIHHHHHH", 2, EM_386, 1, 0x8048054, 52, 0, 0, 52, 32, 1, 40, 0, 0)
        + bytes(64)
    )


@case()
def unstartable_programs():
    """The codes are a shell's."""
    with tempfile.TemporaryDirectory() as directory:
        place = pathlib.Path(directory)
        plain = place / "plain"
        plain.write_text("#!/bin/sh\necho started\n")
        plain.chmod(0o644)
        cases = [
            ("missing file", str(place / "missing"), [NOT_FOUND]),
            ("missing command", "no-such-command-anywhere", [NOT_FOUND]),
            ("empty name", "", [NOT_FOUND]),
            ("under a file", str(plain / "x"), [NOT_FOUND, NOT_EXECUTABLE]),
            ("not executable", str(plain), [NOT_EXECUTABLE]),
            ("directory", directory, [NOT_EXECUTABLE]),
            (
                "32-bit ELF",
                make_executable(place / "elf32", elf32_header()),
                [USAGE, NOT_EXECUTABLE],
            ),
            (
                "half an ELF header",
                make_executable(place / "half", elf32_header()[:20]),
                [USAGE, NOT_EXECUTABLE],
            ),
            (
                "no interpreter",
                make_executable(place / "script", b"#!/no/such/interpreter\n"),
                [NOT_EXECUTABLE, NOT_FOUND],
            ),
        ]
        for what, path, codes in cases:
            expect_refusal(run_line("64M", [path]), codes, what)


@case()
def static_binary():
    """No library can be loaded into it, so its limit could not be held."""
    path = program("static_program")
    check(
        b"started" in subprocess.run([path], capture_output=True, check=True).stdout,
        "it does not run natively",
    )
    expect_refusal(run_line("64M", [path]), [USAGE, NOT_EXECUTABLE], "static binary")


@case()
def setuid_binary():
    """The loader ignores LD_PRELOAD for it."""
    need_root()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        os.chmod(directory, 0o755)
        if os.statvfs(directory).f_flag & os.ST_NOSUID:
            raise Skip(f"{directory} is mounted nosuid")
        path = pathlib.Path(directory, "setuid")
        make_executable(path, pathlib.Path(need_command("true")).read_bytes())
        os.chown(path, 65534, 65534)
        path.chmod(0o4755)
        expect_refusal(run_line("64M", [str(path)]), [USAGE, NOT_EXECUTABLE], "setuid binary")
        path.chmod(0o755)
        done = call(run_line("64M", [str(path)]))
        check(done.returncode == 0, f"without the setuid bit: {done.returncode}: {done.stderr}")
