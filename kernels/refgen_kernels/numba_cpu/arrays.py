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
    """Return the elements in order, one-dimensional and contiguous; a copy only if need be."""
    return np.ascontiguousarray(x).reshape(-1)


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
    for i, block in enumerate(_blocks):
        if block.nbytes == need and sys.getrefcount(block) == UNSEEN:
            return _blocks.pop(i)
    return None


def _forget() -> None:
    """Let go of the oldest blocks beyond KEPT; those in use live on with their arrays."""
    while sum(block.nbytes for block in _blocks) > KEPT and len(_blocks) > 1:
        _blocks.pop(0)


def _references_of_an_unseen_block() -> int:
    """Count as _take counts: the list, the loop's name and the argument of getrefcount."""
    for block in [np.empty(1, np.uint8)]:
        count = sys.getrefcount(block)
    return count


UNSEEN = _references_of_an_unseen_block()
