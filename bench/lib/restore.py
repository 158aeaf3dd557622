"""Puts back what the benchmark changes on the machine, whatever happens to it.

The benchmark tells a guardian (this file, run as a program, in a session of its own) before each change how
to undo it. When the pipe between them closes, because the benchmark has ended or was killed, the guardian
undoes everything, the last change first.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time


class Guardian:
    """with Guardian() as guardian: guardian.undo("write", path, text), then change it."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-B", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        return self

    def __exit__(self, *exception):
        self.process.stdin.close()
        self.process.wait(timeout=120)

    def undo(self, *step):
        self.process.stdin.write(json.dumps([str(part) for part in step]) + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()  # it knows now

    def undo_last(self):
        """Undoes the last step that is left, at once."""
        self.undo("now")


def write(path, text):
    pathlib.Path(path).write_text(text)


def remove_group(path):
    """A cgroup that the benchmark made, with what still runs in it."""
    for _ in range(50):
        for pid in (pathlib.Path(path) / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        try:
            os.rmdir(path)
            return
        except OSError:
            time.sleep(0.1)
    os.rmdir(path)


def command(*words):
    subprocess.run(words, check=True, capture_output=True, timeout=100)


STEPS = {
    "write": write,
    "unlink": os.unlink,
    "remove_group": remove_group,
    "command": command,
}


def undo(step):
    try:
        STEPS[step[0]](*step[1:])
    except FileNotFoundError:
        pass  # gone already
    except (OSError, subprocess.SubprocessError) as error:
        print(f"bench: could not put back {step}: {error}", file=sys.stderr)


def main():
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    steps = []
    for line in sys.stdin:
        step = json.loads(line)
        if step == ["now"]:
            undo(steps.pop())
        else:
            steps.append(step)
        print("ok", flush=True)
    while steps:
        undo(steps.pop())


if __name__ == "__main__":
    main()
