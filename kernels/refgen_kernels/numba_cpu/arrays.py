"""Arrays: what a kernel takes, and where its results go.

Results get memory that earlier results have left. A fresh large array costs more than what the
fastest kernels do with it: the system maps and clears each of its pages on the first write. So
the memory of a result is lent: when no array and no view of one refers to it any more, it goes
back to a shelf of its size and is given out again. A training step, which asks for the same
sizes as the one before, then takes nothing from the system.
"""

import math
from collections import defaultdict, deque

import numpy as np

from refgen.typing import Array

SMALL = 1 << 16  # bytes; below, the allocator reuses memory by itself
KEPT = 1 << 30  # bytes kept on the shelves at most
ALIGNMENT = 64  # bytes: a line of the cache, a vector of AVX-512


def suits(shape: tuple[int, ...], *arrays: Array) -> bool:
    """Tell whether all arrays are float32 of that shape; what does not suit goes to the page."""
    return all(type(a) is np.ndarray and a.dtype == np.float32 and a.shape == shape for a in arrays)


def single(*arrays: Array) -> bool:
    """Tell whether all arrays are float32, of any shapes."""
    return all(type(a) is np.ndarray and a.dtype == np.float32 for a in arrays)


def flat(x: Array) -> Array:
    """Return the elements in order, as the one kind of array that kernels are compiled for.

    That is one-dimensional, contiguous, aligned and writable (to Numba a read-only array is
    another type, and another compilation); an array that is not becomes a copy.
    """
    if x.flags.carray:
        return x.reshape(-1)
    copy = empty(x.shape)
    np.copyto(copy, x)
    return copy.reshape(-1)


class Memory:
    """The shelves, and how much is lent and lies on them, in bytes."""

    def __init__(self) -> None:
        self.shelves: dict[int, deque[Array]] = defaultdict(deque)  # by size
        self.kept = self.lent = self.peak = 0

    def take(self, size: int) -> Array:
        """Return a block of that many bytes, from a shelf or from the system."""
        try:
            block = self.shelves[size].pop()
            self.kept -= size
        except IndexError:
            block = np.empty(size, np.uint8)
        self.lent += size
        self.peak = max(self.peak, self.lent)
        return block

    def give_back(self, block: Array) -> None:
        """Put a block on its shelf; while there is too much, let go of others' first."""
        self.lent -= block.nbytes
        self.kept += block.nbytes
        self.shelves[block.nbytes].append(block)
        for size, shelf in list(self.shelves.items()):
            while self.kept > KEPT and shelf and size != block.nbytes:
                self.kept -= shelf.popleft().nbytes
        while self.kept > KEPT:
            self.kept -= self.shelves[block.nbytes].popleft().nbytes


class Loan:
    """A block in use: NumPy holds on to it as long as an array or a view needs its memory."""

    def __init__(self, size: int) -> None:
        self.block = memory.take(4 * size + ALIGNMENT)
        address = self.block.ctypes.data
        start = address + -address % ALIGNMENT
        self.__array_interface__ = {
            "shape": (size,),
            "typestr": np.dtype(np.float32).str,
            "data": (start, False),
            "version": 3,
        }

    def __del__(self) -> None:
        memory.give_back(self.block)


memory = Memory()


def empty(shape: tuple[int, ...]) -> Array:
    """Return an uninitialised float32 array that nothing else refers to."""
    size = math.prod(shape)
    if 4 * size < SMALL:
        return np.empty(shape, np.float32)
    return np.asarray(Loan(size)).reshape(shape)
