"""The machine's own limits, measured in the same run, by loops that do nothing else.

Memory: a loop reads as many arrays of the same sizes as the op must read, and writes as many as
it must write, on all cores. Arithmetic: fused multiply-adds in registers, on all cores.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import njit, prange

from benchmarks.calls import Call, Skipped
from benchmarks.cases import Case
from benchmarks.counts import counts
from refgen.typing import Array
from refgen_kernels.numba_cpu.access import load, store, store_past
from refgen_kernels.numba_cpu.arrays import empty
from refgen_kernels.numba_cpu.build import TARGET
from refgen_kernels.numba_cpu.simd import floats, fused, total

VERSIONS = ()
PARTS = (128, 1024)  # floats of each array in turn: few suit the memory, many suit the caches
KINDS = tuple((part, past) for part in PARTS for past in (0, 1))  # past the caches, or not
APART = 1088  # floats between arrays beyond that, so that they do not share places of the cache
SMALL = 0.01  # of all traffic; arrays below it, such as biases, are left out
LANES = 16
CHAINS = {"avx512": 10, "avx2": 5, "plain": 5}[TARGET]  # sums that fit the registers
FEW = CHAINS == 5
TASKS, LENGTH = 64, 1_000_000
ZERO = np.float32(0)


def prepare(case: Case) -> Call:
    """Return a call that moves what the case must move, in the fastest of four ways."""
    counted = counts(case)
    reads, writes = (_large(sizes, counted.moved) for sizes in (counted.reads, counted.writes))
    if not writes:
        raise Skipped("a whole step is limited by arithmetic alone")
    move = _mover(reads, writes)
    return min((partial(move, part, past) for part, past in KINDS), key=_seconds)


def results(case: Case, call: Call) -> None:
    """There is nothing to judge."""


def about(case: Case) -> dict[str, object]:
    """There is nothing to say."""
    return {}


def peak() -> float:
    """Return the FLOPs of a second that the arithmetic reaches, the best of three."""
    numbers, best = np.linspace(0.1, 0.9, 192, dtype=np.float32), 0.0
    _multiply(1, numbers)
    for _ in range(3):
        start = time.perf_counter()
        _multiply(LENGTH, numbers)
        best = max(best, 2 * LANES * CHAINS * TASKS * LENGTH / (time.perf_counter() - start))
    return best


def _large(sizes: tuple[int, ...], moved: int) -> list[int]:
    """Return the sizes that matter, in whole strides of the loop."""
    return [-(-size // 64) * 64 for size in sizes if 4 * size >= SMALL * moved]


def _mover(reads: list[int], writes: list[int]) -> Callable[[int, int], Any]:
    """Return the loop over those arrays, as a function of how it goes: (part, past)."""
    sizes = np.array([*reads, *writes])
    starts = np.concatenate([[0], np.cumsum(sizes + APART)])
    memory: Array = empty((max(int(starts[-1]), 1 << 16),))  # large enough to be aligned
    memory[:] = 1.0
    largest = int(sizes.max())

    def move(part: int, past: int) -> Any:
        return _move(memory, starts, sizes, len(reads), -(-largest // part), past)

    return move


def _seconds(call: Call) -> float:
    call()
    found = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


@njit(parallel=True)
def _move(memory, starts, sizes, reads, tasks, past):  # type: ignore[no-untyped-def]
    for task in prange(tasks):
        a, b, c, d = floats(ZERO), floats(ZERO), floats(ZERO), floats(ZERO)
        for s in range(sizes.size):
            lo = starts[s] + sizes[s] * task // tasks // 64 * 64
            hi = starts[s] + sizes[s] * (task + 1) // tasks // 64 * 64
            if s < reads:
                for i in range(lo, hi, 64):
                    a, b = a + load(memory, i), b + load(memory, i + 16)
                    c, d = c + load(memory, i + 32), d + load(memory, i + 48)
            elif past:
                for i in range(lo, hi, 16):
                    store_past(memory, i, a + b + (c + d))
            else:
                for i in range(lo, hi, 16):
                    store(memory, i, a + b + (c + d))


@njit(parallel=True)
def _multiply(length, numbers):  # type: ignore[no-untyped-def]
    sums = np.zeros(TASKS, np.float32)
    for task in prange(TASKS):
        x, y = load(numbers, 0), load(numbers, 16)
        a, b, c = load(numbers, 32), load(numbers, 48), load(numbers, 64)
        d, e, f = load(numbers, 80), load(numbers, 96), load(numbers, 112)
        g, h = load(numbers, 128), load(numbers, 144)
        i, j = load(numbers, 160), load(numbers, 176)
        for _ in range(length):
            a, b, c = fused(a, x, y), fused(b, x, y), fused(c, x, y)
            d, e = fused(d, x, y), fused(e, x, y)
            if not FEW:
                f, g, h = fused(f, x, y), fused(g, x, y), fused(h, x, y)
                i, j = fused(i, x, y), fused(j, x, y)
        sums[task] = total(a + b + c + d + e + (f + g + h + i + j))
    return sums
