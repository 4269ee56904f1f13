"""What the benchmark needs of a device: events, a cache to flush, ways in and out.

Here stands the host, whose events are readings of a clock: it times what runs on the CPU, and lets
tests run all of this benchmark where there is no GPU. gpu/device_cuda.py has the other two.
"""

import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from benchmarks.calls import Call, Skipped
from benchmarks.cases import Shape
from refgen.typing import Array


class Device(Protocol):
    """Arrays somewhere, and a clock that runs beside them. Arrays are of the device's own kind."""

    kind: type

    def about(self) -> dict[str, Any]:
        """Say what it is."""

    def event(self) -> Any:
        """Return a mark that can be set."""

    def record(self, event: Any) -> None:
        """Set a mark behind all work that was asked for so far."""

    def seconds(self, start: Any, end: Any) -> float:
        """Return the time between two marks that the device has passed."""

    def synchronize(self) -> None:
        """Wait for all work."""

    def flush(self) -> None:
        """Fill the caches with something else."""

    def poison(self, shapes: Sequence[Shape]) -> None:
        """Leave NaN in the memory that the next results of these shapes get."""

    def release(self) -> None:
        """Give memory back that nobody uses, for other processes."""

    def held(self, a: Any) -> Any:
        """Return a copy of an array of this device in memory that it can read from outside."""

    def upload(self, held: Any, there: Any) -> None:
        """Ask for a copy from outside."""

    def download(self, there: Any, held: Any) -> None:
        """Ask for a copy to outside."""

    def capture(self, call: Call) -> Call:
        """Return a call as one graph. Raises Skipped with the reason where there are none."""


class Host:
    """The CPU and its memory."""

    kind: type = np.ndarray

    def __init__(self, flushed: int = 2**28) -> None:
        self.other = np.ones(flushed // 8)

    def about(self) -> dict[str, Any]:
        """Say what it is."""
        return {"name": "host"}

    def event(self) -> list[float]:
        """Return a mark that can be set."""
        return [0.0]

    def record(self, event: list[float]) -> None:
        """Set a mark."""
        event[0] = time.perf_counter()

    def seconds(self, start: list[float], end: list[float]) -> float:
        """Return the time between two marks."""
        return end[0] - start[0]

    def synchronize(self) -> None:
        """Return: nothing runs beside."""

    def flush(self) -> None:
        """Fill the caches with something else."""
        self.other += 1.0

    def poison(self, shapes: Sequence[Shape]) -> None:
        """Leave NaN in memory; the system decides who gets it."""
        _ = [np.full(shape, np.nan, np.float32) for shape in shapes]

    def release(self) -> None:
        """Return: the system has it."""

    def held(self, a: Array) -> Array:
        """Return a copy."""
        return a.copy()

    def upload(self, held: Array, there: Array) -> None:
        """Copy."""
        np.copyto(there, held)

    def download(self, there: Array, held: Array) -> None:
        """Copy."""
        np.copyto(held, there)

    def capture(self, call: Call) -> Call:
        """Refuse."""
        raise Skipped("the host has no graphs")
