"""From an op to launches: what CUDA C++ and Numba CUDA have in common.

A page of this package says how an op becomes launches of kernels by name: what is checked, what
is allocated, what the cache holds. The kernels behind the names are written twice, in
cupy_cuda/<stem>.cu and in numba_cuda/<stem>.py, and take the same arguments; a backend binds a
page to its own kernels with `twins`.
"""

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from refgen.noise import Stream
from refgen.typing import Array
from refgen_kernels.device.machine import machine

THREADS = 256  # of a block, where the block's size is nobody's business
FOUR = 4  # elements a thread takes at once
DRAWN = 16  # and where it draws them: four counters
BLOCKS = 2**16  # at most, where kernels walk on by the size of the grid

P = ParamSpec("P")
R = TypeVar("R")
Grid = tuple[int, ...]


class Launcher(ABC):
    """The kernels of one page, by name."""

    def __init__(self, module: str) -> None:
        self.module_name = module

    def room(self) -> int:
        """Return how many bytes of shared memory a block may have."""
        return machine().shared

    @abstractmethod
    def launch(
        self, name: str, grid: Grid, block: Grid, *args: Array | float | None, shared: int = 0
    ) -> None:
        """Start a kernel; nothing happens for a grid of no blocks.

        Arrays may be views: what is not contiguous is copied first. Numbers become the type that
        the kernel declares. `shared` counts bytes of dynamic shared memory. Raises TypeError for
        arguments that are not those of the kernel.
        """

    def each(self, name: str, count: int, *args: Array | float | None, at_once: int = FOUR) -> None:
        """Start a kernel that walks over `count` elements by itself, whatever the grid."""
        blocks = min(-(-count // (at_once * THREADS)), BLOCKS)
        self.launch(name, (blocks,), (THREADS,), *args)

    def twin(self, call: Callable[Concatenate["Launcher", P], R]) -> Callable[P, R]:
        """Return the op that a page defines, bound to these kernels."""

        @functools.wraps(call)
        def bound(*args: P.args, **kwargs: P.kwargs) -> R:
            return call(self, *args, **kwargs)

        signature = inspect.signature(call)
        rest = list(signature.parameters.values())[1:]
        bound.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        bound.__module__ = self.module_name
        return bound


def drawn_from(stream: Stream, start: int) -> tuple[int, int, int, int, int, int]:
    """Return the arguments of a kernel that draws: seed, three hash words, block, offset.

    The first element drawn is element `offset` (0 .. 63) of block `block` of 64 (equation N.2).
    """
    seed, a, b, c = stream
    block, offset = divmod(int(start), 64)
    return seed, a, b, c, block, offset


def number(value: Any, kind: type, kernel: str, place: int) -> Any:
    """Return a Python number as the NumPy scalar that a kernel takes.

    Raises TypeError for what does not fit.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, float | int | np.number):
        raise TypeError(f"{kernel}: argument {place} is a number, not {type(value).__name__}")
    if np.issubdtype(kind, np.integer):
        bounds = np.iinfo(kind)
        if int(value) != value or not bounds.min <= value <= bounds.max:
            raise TypeError(f"{kernel}: argument {place} is {kind.__name__}; {value} is not")
        return kind(int(value))
    return kind(value)
