"""CPython that builds a large graph of objects and walks it again and again, mostly near where it is.

objects.py NODES STEPS
"""

import random
import sys


def main():
    count, steps = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(1)
    nodes = [
        {"id": i, "name": f"node {i}", "next": [], "data": [i, float(i), str(i * 7)]} for i in range(count)
    ]
    for i, node in enumerate(nodes):
        node["next"] = [nodes[(i + 1) % count], nodes[(i + 7) % count], nodes[rng.randrange(count)]]
    at, total = nodes[0], 0
    for step in range(steps):
        choice = rng.random()
        at = at["next"][0 if choice < 0.6 else 1 if choice < 0.999 else 2]
        total = (total * 31 + at["id"] + len(at["name"])) % (1 << 61)
        at["data"][0] = step
    print(total)


main()
