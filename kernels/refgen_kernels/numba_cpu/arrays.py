"""Arrays: what a kernel takes, and where its results go.

Results get memory that earlier results have left. A fresh large array costs more than what the
fastest kernels do with it: the system maps and clears each of its pages on the first write. So
the memory of results is kept, and given out again when nobody can see it any more: when no
array, and no view of one, refers to it.
"""

import math
import sys
import threading

import numpy as np

from refgen.typing import Array

SMALL = 1 << 16  # bytes; below, the allocator reuses memory by itself
KEPT = 1 << 28  # bytes kept at most
ALIGNMENT = 64  # bytes: a line of the cache, a vector of AVX-512


def suits(shape: tuple[int, ...], *arrays: Array) -> bool:
    """Tell whether all arrays are float32 of that shape; what does not suit goes to the page."""
    return all(type(a) is np.ndarray and a.dtype == np.float32 and a.shape == shape for a in arrays)


def flat(x: Array) -> Array:
    """Return the elements in order, as the one kind of array that kernels are compiled for.

    That is one-dimensional, contiguous, aligned and writable (to Numba a read-only array is
    another type, and another compilation); an array that is not becomes a copy.
    """
    return (x if x.flags.carray else x.copy()).reshape(-1)


_lock = threading.Lock()
_blocks: list[Array] = []  # each owns its memory; least recently given first


def empty(shape: tuple[int, ...]) -> Array:
    """Return an uninitialised float32 array that nothing else refers to."""
    size = math.prod(shape)
    if 4 * size < SMALL:
        return np.empty(shape, np.float32)
    need = 4 * size + ALIGNMENT
    with _lock:
        block = _take(need)
        if block is None:
            block = np.empty(need, np.uint8)
        _blocks.append(block)
        _forget()
    skip = -block.ctypes.data % ALIGNMENT
    return block[skip : skip + 4 * size].view(np.float32).reshape(shape)


def _take(need: int) -> Array | None:
    """Remove and return a block of that size which only the list refers to."""
    for i in range(len(_blocks)):
        if _blocks[i].nbytes == need and _references(_blocks, i) == UNSEEN:
            return _blocks.pop(i)
    return None


def _forget() -> None:
    """Let go of the oldest blocks beyond KEPT; those in use live on with their arrays."""
    while sum(block.nbytes for block in _blocks) > KEPT:
        _blocks.pop(0)


def _references(blocks: list[Array], i: int) -> int:
    return sys.getrefcount(blocks[i])


UNSEEN = _references([np.empty(1, np.uint8)], 0)
