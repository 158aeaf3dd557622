"""A program under coldpress run is, for whoever started it, the program itself."""

import os
import pathlib
import signal
import tempfile

from harness import (
    MIB,
    call,
    case,
    check,
    check_held,
    need_command,
    program,
    run,
    run_line,
    tool_lines,
)

LIMIT = "64M"
SHELL = "/bin/sh"


def quiet(argv):
    return run_line(LIMIT, argv, ["--quiet"])


def shell(script):
    return quiet([SHELL, "-c", script])


@case()
def exit_status():
    for code in (0, 1, 2, 42, 126, 127, 255):
        done = call(shell(f"exit {code}"))
        check(done.returncode == code, f"exit {code} was seen as {done.returncode}: {done.stderr}")
        check(done.stderr == "", f"exit {code}: {done.stderr!r}")


@case()
def death_by_signal():
    for name in ("TERM", "KILL", "SEGV", "BUS", "ABRT", "INT", "USR1"):
        done = call(shell(f"ulimit -c 0; kill -{name} $$"))
        number = getattr(signal, f"SIG{name}")
        check(
            done.returncode == -number,
            f"death by SIG{name} was seen as {done.returncode}: {done.stderr}",
        )


@case()
def same_pid():
    outcome = run(shell("echo $$"))
    check(int(outcome.stdout) == outcome.pid, f"pid {outcome.pid} became {outcome.stdout}")


@case()
def standard_streams():
    """Bytes pass through in both directions, and the end of the input is seen."""
    data = bytes(range(256)) * 4096 + b"no newline at the end"
    outcome = run(quiet([need_command("cat")]), stdin=data)
    check(outcome.status == 0 and outcome.stdout == data, f"cat: {outcome.describe()}")
    outcome = run(shell("echo out; echo err >&2"))
    check((outcome.stdout, outcome.stderr) == (b"out\n", "err\n"), outcome.describe())
    closed = call(
        [SHELL, "-c", 'exec "$@" <&-', "sh", *shell("readlink /proc/$$/fd/0 || echo closed")]
    )
    check(closed.stdout == "closed\n", f"a closed stdin was opened: {closed}")


@case()
def broken_pipe():
    """The program dies of a broken pipe as it does natively."""
    done = call([SHELL, "-c", '"$@" | head -n 1', "sh", *quiet([need_command("yes")])])
    check((done.returncode, done.stdout, done.stderr) == (0, "y\n", ""), f"yes | head: {done}")


@case()
def signal_dispositions():
    """Blocked and ignored signals are inherited, and no others are."""
    show = [need_command("grep"), "-E", "Sig(Blk|Ign)", "/proc/self/status"]
    for setting in ("true", 'trap "" PIPE HUP'):
        start = [SHELL, "-c", f'{setting}; exec "$@"', "sh"]
        plain = call([*start, *show])
        under = call([*start, *quiet(show)])
        check(
            plain.stdout == under.stdout,
            f"signals after {setting}: {plain.stdout!r} became {under.stdout!r}",
        )


@case()
def arguments():
    words = [
        "",
        " ",
        "--quiet",
        "--",
        "-x",
        "a b",
        "\n",
        "$HOME",
        "--limit",
        "1K",
        "é",
        b"\xff\xfe",
    ]
    outcome = run(quiet([SHELL, "-c", "cat /proc/$$/cmdline; true", *words]))
    expected = [SHELL.encode(), b"-c", b"cat /proc/$$/cmdline; true", *map(os.fsencode, words)]
    check(outcome.stdout.split(b"\0")[:-1] == expected, f"the arguments became {outcome.stdout!r}")


@case()
def environment():
    """Nothing but LD_PRELOAD and COLDPRESS* differs."""
    given = {
        "PATH": "/usr/bin:/bin",
        "EMPTY": "",
        "SPACES": " a  b ",
        "LINES": "1\n2",
        "EQUALS": "a=b=c",
    }

    def seen(argv):
        entries = run(argv, env=given).stdout.split(b"\0")[:-1]
        return [entry for entry in entries if not entry.startswith((b"LD_PRELOAD=", b"COLDPRESS"))]

    show = ["/bin/cat", "/proc/self/environ"]
    check(seen(quiet(show)) == seen(show), f"the environment became {seen(quiet(show))}")
    check(len(seen(show)) == len(given), "the native run did not show its environment")


@case()
def own_preload_is_kept():
    """A program that is started with LD_PRELOAD keeps what it names."""
    library = "libm.so.6"
    show = ["/bin/cat", "/proc/self/maps"]
    env = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": library}
    check(library in run(show, env=env).stdout.decode(), "LD_PRELOAD has no effect natively")
    outcome = run(quiet(show), env=env)
    check(library in outcome.stdout.decode(), f"{library} was not loaded: {outcome.describe()}")


@case()
def working_directory_and_umask():
    with tempfile.TemporaryDirectory() as directory:
        done = call(
            [SHELL, "-c", 'umask 027; exec "$@"', "sh", *shell("pwd -P; umask")], cwd=directory
        )
        check(done.stdout == f"{os.path.realpath(directory)}\n0027\n", f"{done}")


@case()
def descriptors():
    """The program inherits what it was given and can use the numbers that shell scripts use."""
    with tempfile.TemporaryFile() as file:
        file.write(b"inherited")
        file.flush()
        file.seek(0)
        script = f"cat /proc/self/fd/{file.fileno()}; exec 9</dev/null && readlink /proc/$$/fd/9"
        done = call(shell(script), pass_fds=[file.fileno()])
        check(done.stdout == "inherited/dev/null\n", f"{done}")


@case()
def scripts():
    """A script is run by its interpreter, found as usual, also through PATH."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "script-of-the-test")
        path.write_text("#!/bin/sh\necho script $1 $0\n")
        path.chmod(0o755)
        done = call(quiet([str(path), "one"]))
        check((done.returncode, done.stdout) == (0, f"script one {path}\n"), f"{done}")
        done = call(quiet([path.name, "two"]), env={"PATH": f"{directory}:/usr/bin:/bin"})
        check((done.returncode, done.stdout) == (0, f"script two {path}\n"), f"{done}")
        path.write_text("#!/usr/bin/env -S sh -e\necho through env $1\n")
        done = call(quiet([str(path), "three"]))
        check((done.returncode, done.stdout) == (0, "through env three\n"), f"{done}")


@case(serial=True)
def exec_keeps_limit():
    """The limit goes along when the program executes another."""
    limit = 24 * MIB
    command = [program("cold_hot"), "64", "1", "2"]
    native = run(command)
    script = f"true; exec {' '.join(command)}"
    outcome = run(run_line(limit, [SHELL, "-c", script], ["--quiet"]))
    check(outcome.status == 0 and outcome.stdout == native.stdout, outcome.describe())
    check_held(outcome, limit, "after an exec")


@case()
def one_exit_line():
    """One line on stderr at the end, however many processes there were; none with --quiet."""
    script = "true; /bin/true; (exit 3); /bin/true | cat; exit 5"
    done = call(run_line(LIMIT, [SHELL, "-c", script]))
    check(done.returncode == 5, f"{done}")
    lines = done.stderr.splitlines()
    check(len(lines) == 1 and tool_lines(done.stderr) == lines, f"expected one exit line: {lines}")
    done = call(run_line(LIMIT, [SHELL, "-c", script], ["--quiet"]))
    check(done.stderr == "", f"--quiet: {done.stderr!r}")
