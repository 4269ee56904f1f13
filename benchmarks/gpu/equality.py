"""Words and normals of a GPU beside NumPy's, bit for bit, many of them.

    python -m benchmarks.gpu.equality --words 1000000000 --normals 100000000

In pieces whose lengths and starts fit no block. The last word of a counter's lower half is crossed
as well. Prints one JSON object; exit code 1: a bit differs; 3: no device.
"""

import argparse
import importlib
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.gpu.budget import Budget
from refgen import noise
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array

STREAM = Noise(11).at("equality").stream
PIECE = 2**24 - 37  # elements that the device draws at once
CHUNK = 2**16  # elements that one thread of the CPU draws at once: they stay in its cache
FIRST, FAR = 3, 2**38 - 2**20 + 5  # around 2³⁸ the counter outgrows 32 bits
REFERENCE: dict[str, Callable[..., Array]] = {"words": noise.words, "normals": noise.normals}


def pieces(count: int, piece: int = PIECE) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of a draw in pieces, the last of them far away."""
    far = min(count // 8, 2**21)
    near = count - far
    for start in range(0, near, piece):
        yield FIRST + start, min(piece, near - start)
    if far:
        yield FAR, far


def compare(kind: str, found: Array, start: int) -> int:
    """Return how many elements differ from NumPy's in any bit."""
    different = 0
    for at in range(0, found.size, CHUNK):
        mine = found[at : at + CHUNK]
        theirs = REFERENCE[kind](STREAM, start + at, mine.size)
        different += int(np.count_nonzero(mine.view(np.uint32) != theirs.view(np.uint32)))
    return different


def equal(
    table: Ops, kind: str, count: int, budget: Budget, threads: int, piece: int = PIECE
) -> dict[str, Any]:
    """Compare `count` elements, as many as there is time for."""
    done, different, waiting = 0, 0, deque[tuple[int, list[Future[int]]]]()
    draw = getattr(table, kind)
    with ThreadPoolExecutor(threads) as pool:

        def finish() -> None:
            nonlocal done, different
            size, parts = waiting.popleft()
            different += sum(part.result() for part in parts)
            done += size

        for start, size in pieces(count, piece):
            if budget.left <= 0:
                break
            found = table.fetch(draw(STREAM, start, size))
            share = -(-size // threads)
            parts = [
                pool.submit(compare, kind, found[i : i + share], start + i)
                for i in range(0, size, share)
            ]
            waiting.append((size, parts))
            if len(waiting) > 1:
                finish()
        while waiting:
            finish()
    return {"kind": kind, "asked": count, "compared": done, "different": different}


def main(argv: list[str] | None = None) -> int:
    """Compare what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", default="cupy,numba-cuda", metavar="LIST")
    parser.add_argument("--words", type=int, default=10**9, metavar="N")
    parser.add_argument("--normals", type=int, default=10**8, metavar="N")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after that")
    options = parser.parse_args(argv)
    kernels: Any = importlib.import_module("refgen_kernels")
    if (state := importlib.import_module("refgen_kernels.device").status()) != "ok":
        print(f"gpu_equality: {state}", file=sys.stderr)
        return 3
    tables = {
        name: kernels.overlay(importlib.import_module(f"refgen_kernels.{kernels.BACKENDS[name]}"))
        for name in options.backend.split(",")
    }
    found = report(tables, {"normals": options.normals, "words": options.words}, options.seconds)
    print(json.dumps({"equality": found}))
    return 0 if all(row["different"] == 0 for row in found) else 1


def report(
    tables: dict[str, Ops], counts: dict[str, int], seconds: float | None
) -> list[dict[str, Any]]:
    """Compare every kind on every backend; what there was no time for shows in `compared`."""
    found, budget, threads = [], Budget(seconds), max(1, (os.cpu_count() or 1))
    left = len(tables) * len(counts)
    for kind, count in counts.items():
        for name, table in tables.items():
            mine = Budget(None if seconds is None else budget.left / left)
            found.append({"backend": name, **equal(table, kind, count, mine, threads)})
            left -= 1
    return found


if __name__ == "__main__":
    sys.exit(main())
