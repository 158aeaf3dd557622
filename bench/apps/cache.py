"""Loads a redis-server and drives it: Zipf-distributed GETs and, one in ten, SETs. Every value is checked.

cache.py SOCKET KEYS OPERATIONS      prints {"p99_us": ..., "seconds": ...} of the operations
"""

import json
import random
import socket
import sys
import time


def value_of(key, version):
    return (f"value {key} version {version} " + f"user{key * 7919 % 100003} " * 40).encode()


def encode(*words):
    out = b"*%d\r\n" % len(words)
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        out += b"$%d\r\n%s\r\n" % (len(word), word)
    return out


def main():
    path, keys, operations = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    deadline = time.monotonic() + 20
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
            break
        except OSError:  # not there yet, or left by a server that was killed
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    replies = connection.makefile("rb")
    for first in range(0, keys, 500):
        batch = range(first, min(first + 500, keys))
        connection.sendall(b"".join(encode("SET", key, value_of(key, 0)) for key in batch))
        for _ in batch:
            if replies.readline() != b"+OK\r\n":
                sys.exit("redis refused a value")
    rng, versions, times = random.Random(1), {}, []
    weights = [1 / (rank + 1) ** 0.99 for rank in range(keys)]
    chosen = rng.choices(range(keys), weights, k=operations)
    start = time.monotonic()
    for count, rank in enumerate(chosen):
        key = rank * 7919 % keys
        if count % 10 == 0:
            versions[key] = count
            begin = time.perf_counter()
            connection.sendall(encode("SET", key, value_of(key, count)))
            good = replies.readline() == b"+OK\r\n"
        else:
            begin = time.perf_counter()
            connection.sendall(encode("GET", key))
            line = replies.readline()
            if not line.startswith(b"$") or int(line[1:]) < 0:
                sys.exit(f"WRONG BYTES for key {key}: it is gone: {line!r}")
            good = replies.read(int(line[1:]) + 2)[:-2] == value_of(key, versions.get(key, 0))
        times.append(time.perf_counter() - begin)
        if not good:
            sys.exit(f"WRONG BYTES for key {key}")
    seconds = time.monotonic() - start
    connection.sendall(encode("SHUTDOWN", "NOSAVE"))
    times.sort()
    print(json.dumps({"seconds": seconds, "p99_us": times[int(len(times) * 0.99)] * 1e6}))


main()
