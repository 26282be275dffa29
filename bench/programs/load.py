"""Dictionaries, lists, objects and strings: JSON there and back, a tree, words."""
import json


class Node:
    def __init__(self, key):
        self.key, self.left, self.right = key, None, None


def insert(root, key):
    while True:
        side = "left" if key < root.key else "right"
        below = getattr(root, side)
        if below is None:
            setattr(root, side, Node(key))
            return
        root = below


def main():
    rows = [{"id": n, "name": f"row {n}", "tags": ["a" * (n % 9), n * 0.5]} for n in range(20000)]
    for _ in range(10):
        text = json.dumps(rows)
        rows = json.loads(text)
    root, key = Node(0), 1
    for _ in range(100000):
        key = key * 1103515245 % 2147483647
        insert(root, key)
    counts = {}
    for n in range(800000):
        word = "w" + str(n * 7919 % 10007)
        counts[word] = counts.get(word, 0) + 1
    lines = [" ".join(str(n + m) for m in range(20)) for n in range(40000)]
    assert sum(len(line.split()) for line in lines) == 800000
    assert sum(counts.values()) == 800000 and len(rows) == 20000


main()
