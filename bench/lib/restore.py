"""Puts back what the benchmark changes on the machine, whatever happens to it.

The benchmark tells a guardian (this file, run as a program, in a session of its own) before each change how
to undo it. When the pipe between them closes, because the benchmark has ended or was killed, the guardian
undoes everything, the last change first.
"""

import contextlib
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
        if self.process.wait(timeout=600) != 0:
            raise RuntimeError("the machine was not put back wholly: see above")

    def undo(self, *step):
        self.process.stdin.write(json.dumps([str(part) for part in step]) + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()  # it knows now

    def add_zram(self, control):
        """Makes a device, which the guardian removes; returns its number."""
        self.process.stdin.write(json.dumps(["add_zram", str(control)]) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def undo_last(self):
        """Undoes the last step that is left, at once."""
        self.undo("now")


def write(path, text):
    pathlib.Path(path).write_text(text)


def kill_group(path):
    """What still runs in a cgroup that the benchmark made: it uses the swap that is to go next."""
    for _ in range(100):
        pids = (pathlib.Path(path) / "cgroup.procs").read_text().split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.05)


def remove_group(path):
    for _ in range(50):
        kill_group(path)
        try:
            os.rmdir(path)
            return
        except OSError:
            time.sleep(0.1)
    os.rmdir(path)


def command(*words):
    for tries in range(5):
        done = subprocess.run(words, capture_output=True, timeout=100)
        if done.returncode == 0 or not pathlib.Path(words[-1]).exists():
            return
        time.sleep(0.2)
    raise OSError(f"{' '.join(words)}: {done.stderr.decode().strip()}")


STEPS = {
    "write": write,
    "unlink": os.unlink,
    "kill_group": kill_group,
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
        return False
    return True


def main():
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    steps = []
    for line in sys.stdin:
        step = json.loads(line)
        answer = "ok"
        if step == ["now"]:
            undo(steps.pop())
        elif step[0] == "add_zram":
            answer = (pathlib.Path(step[1]) / "hot_add").read_text().strip()
            steps.append(["write", str(pathlib.Path(step[1]) / "hot_remove"), answer])
        else:
            steps.append(step)
        print(answer, flush=True)
    good = True
    while steps:
        good = undo(steps.pop()) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
