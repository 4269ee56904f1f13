"""How fast a training step is by the kernels and by NumPy alone, measured side by side."""

import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from refgen.cli.settings import Plan
    from refgen.data import Dataset
    from refgen.systems import System
    from refgen.training import State

ROUNDS = 3


def beside_numpy(plan: "Plan", system: "System", data: "Dataset", state: "State") -> str:
    """Return a line that says how many steps a second both take from this state, in turns."""
    from refgen import ops as reference
    from refgen.training import examples_for, resident, take_step

    def step_of(runs: "System") -> Callable[[], object]:
        examples, here = examples_for(runs, data), resident(runs, state)
        return lambda: take_step(runs, examples, plan.recipe, here)

    fast, slow = rates(step_of(system), step_of(plan.build(reference)))
    return compared(fast, slow)


def compared(fast: float, slow: float) -> str:
    """Return two rates in words.

    >>> compared(1540.3, 210.04)
    '1,540 steps a second; NumPy alone takes 210, 7.3 times fewer'
    >>> compared(9.0, 11.7)
    '9 steps a second; NumPy alone takes 11.7, 1.3 times as many'
    """
    ours, numpy = (f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}" for rate in (fast, slow))
    times = "about as many"
    if fast / slow >= 1.05:
        times = f"{fast / slow:.1f} times fewer"
    elif slow / fast >= 1.05:
        times = f"{slow / fast:.1f} times as many"
    return f"{ours} steps a second; NumPy alone takes {numpy}, {times}"


def rates(*calls: Callable[[], object]) -> list[float]:
    """Return how often a second each can be called: medians of rounds, A B A B, after one each."""
    seconds: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(ROUNDS):
        for call, times in zip(calls, seconds, strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return [1 / statistics.median(times) for times in seconds]


def memory() -> str:
    """Return how much the kernels held at most; empty where they held nothing large."""
    from refgen_kernels import numba_cpu

    peak = numba_cpu.peak() / 2**20
    return f", {peak:.0f} MiB of results and scratch at most" if peak >= 1 else ""
