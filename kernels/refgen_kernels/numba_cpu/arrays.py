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

SMALL = 1 << 17  # bytes; up to here the allocator reuses memory by itself
KEPT = 1 << 30  # bytes kept on the shelves at most
FLOAT = np.dtype(np.float32).str  # with the order of its bytes here
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


class Block:
    """Memory from the system, and where in it the first whole line of the cache begins."""

    __slots__ = ("address", "memory", "size")

    def __init__(self, size: int) -> None:
        self.size, self.memory = size, np.empty(size + ALIGNMENT, np.uint8)
        address = self.memory.ctypes.data
        self.address = address + -address % ALIGNMENT


class Memory:
    """The shelves, and how much is lent and lies on them, in bytes."""

    def __init__(self) -> None:
        self.shelves: dict[int, deque[Block]] = defaultdict(deque)  # by size
        self.kept = self.lent = self.peak = 0

    def take(self, size: int) -> Block:
        """Return a block of that many bytes, from a shelf or from the system."""
        try:
            block = self.shelves[size].pop()
            self.kept -= size
        except IndexError:
            block = Block(size)
        self.lent += size
        self.peak = max(self.peak, self.lent)
        return block

    def give_back(self, block: Block) -> None:
        """Put a block on its shelf; where there is too much, let go of other sizes first."""
        self.lent -= block.size
        self.kept += block.size
        own = self.shelves[block.size]
        own.append(block)
        if self.kept > KEPT:
            for shelf in [*(s for s in self.shelves.values() if s is not own), own]:
                while shelf and self.kept > KEPT:
                    self.kept -= shelf.popleft().size


class Loan:
    """A block in use: NumPy holds on to it as long as an array or a view needs its memory."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, size: int) -> None:
        self.block = memory.take(4 * size)
        data = (self.block.address, False)
        self.__array_interface__ = {"shape": (size,), "typestr": FLOAT, "data": data, "version": 3}

    def __del__(self) -> None:
        memory.give_back(self.block)


memory = Memory()


def empty(shape: tuple[int, ...]) -> Array:
    """Return an uninitialised float32 array that nothing else refers to."""
    size = math.prod(shape)
    if 4 * size <= SMALL:
        return np.empty(shape, np.float32)
    return np.asarray(Loan(size)).reshape(shape)
