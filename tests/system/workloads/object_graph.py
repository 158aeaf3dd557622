"""Builds a large graph of Python objects, walks and changes it, prints a digest of all it saw.

object_graph.py NODES
"""

import gc
import hashlib
import random
import sys

PASSES = 2
HOT_SHARE = 20  # every so many steps goes to a node anywhere, the others stay near


class Node:
    def __init__(self, number):
        self.number = number
        self.name = f"node {number:08d}"
        self.text = f"the text of node {number} " * 90
        self.weights = [number * 3, number * 5, number * 7, float(number)]
        self.tags = {"kind": number % 17, "parity": number % 2}
        self.next = []


def build(count, rng):
    nodes = [Node(number) for number in range(count)]
    for number, node in enumerate(nodes):
        node.next = [nodes[(number + step) % count] for step in (1, 2, 50)]
        if number % HOT_SHARE == 0:
            node.next.append(nodes[rng.randrange(count)])
    return nodes


def walk(nodes, rng, digest):
    node = nodes[0]
    for step in range(len(nodes)):
        digest.update(
            f"{node.number} {node.name} {node.tags['kind']} {sum(node.weights)}\n".encode()
        )
        if step % 7 == 0:
            node.tags["seen"] = step
            node.name = f"node {node.number:08d} step {step}"
        node = node.next[rng.randrange(len(node.next))]


def main():
    rng = random.Random(42)
    nodes = build(int(sys.argv[1]), rng)
    digest = hashlib.sha256()
    for _ in range(PASSES):
        walk(nodes, rng, digest)
        gc.collect()
    del nodes[::3]
    gc.collect()
    for node in nodes:
        digest.update(f"{node.number} {node.text} {node.tags.get('seen')}\n".encode())
    print(f"object_graph {sys.argv[1]} {digest.hexdigest()}")


main()
