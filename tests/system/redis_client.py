"""As much of a Redis client as the tests need: RESP over a unix socket, pipelined."""

import collections
import socket
import time

BATCH = 200
START_S = 20
REPLY_S = 60


def connect(path):
    """Waits until a server listens at path, as one that is just being started does soon."""
    deadline = time.monotonic() + START_S
    while True:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(REPLY_S)
        try:
            connection.connect(path)
            return connection
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Client:
    def __init__(self, path):
        self._socket = connect(path)
        self._file = self._socket.makefile("rb")
        self._expected = collections.deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()
        self._socket.close()

    def send(self, *words):
        self._socket.sendall(encode(words))

    def call(self, *words):
        self._drain()
        self.send(*words)
        return self._reply()

    def pipeline(self, commands):
        """Sends many commands that all succeed."""
        batch = []
        for command in commands:
            batch.append(encode(command))
            if len(batch) == BATCH:
                self._exchange(batch)
        self._exchange(batch)

    def expect(self, command, reply):
        """Sends a command whose reply is checked in time, at the latest at the next call()."""
        self._expected.append((command, reply))
        if len(self._expected) == BATCH:
            self._drain()

    def _drain(self):
        self._socket.sendall(b"".join(encode(command) for command, _ in self._expected))
        while self._expected:
            command, expected = self._expected.popleft()
            reply = self._reply()
            if reply != expected:
                raise AssertionError(
                    f"{command}: {str(reply)[:80]!r}, expected {str(expected)[:80]!r}"
                )

    def _exchange(self, batch):
        self._socket.sendall(b"".join(batch))
        for _ in batch:
            self._reply()
        batch.clear()

    def _reply(self):
        line = self._file.readline()
        if not line:
            raise ConnectionError("redis-server closed the connection")
        kind, rest = line[:1], line[1:].rstrip(b"\r\n")
        if kind in (b"+", b":"):
            return rest.decode()
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self._file.read(length + 2)[:-2].decode()
        raise AssertionError(f"redis-server answered {line!r}")


def encode(words):
    parts = [f"*{len(words)}\r\n"]
    for word in words:
        parts.append(f"${len(word)}\r\n{word}\r\n")
    return "".join(parts).encode()
