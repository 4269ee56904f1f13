"""Sums over each sample, taken in the pass that computes their terms.

A block of threads keeps the terms of up to TILE elements in shared memory, element by element, so
how samples lie in memory does not matter to those who read it. Then it adds them up:

    samples of up to TILE elements    a block takes several of them, whole
    larger ones                       a block takes a piece of one and leaves its share; a second,
                                      small launch adds the shares of each sample in the same way

How a sample is cut, and who adds what, follows from its own size: its sum has the same bits
whatever else is in the batch.
"""

import math
from typing import NamedTuple

import numpy as np

from refgen.typing import Array
from refgen_kernels.device.launcher import FOUR, Launcher
from refgen_kernels.device.machine import empty

THREADS = 128  # of a block that adds
TILE = 2048  # elements whose terms a block keeps at once: sixteen a thread
BUSY = 1024  # blocks, enough for every part of a GPU to have some
WHOLE = 64  # elements; pieces are multiples, so they begin where draws and aligned fours do


class Parts(NamedTuple):
    """What each block takes, in the order in which kernels are told."""

    samples: int
    each: int  # elements of a sample
    together: int  # samples a block takes whole
    pieces: int  # of one sample; 1: it is whole
    piece: int  # elements of a piece

    @property
    def blocks(self) -> int:
        """How many blocks it takes."""
        return self.samples * self.pieces if self.pieces > 1 else -(-self.samples // self.together)


def parts_of(samples: int, each: int) -> Parts:
    """Return who takes what of samples of `each` elements, at least one."""
    if each <= TILE:
        room, enough = TILE // each, max(1, FOUR * THREADS // each)
        together = min(room, max(enough, -(-samples // BUSY)))
        return Parts(samples, each, together, 1, each)
    tiles = -(-each // TILE**2)  # of a piece: there are no more shares than one block can add
    pieces = -(-each // (TILE * tiles))
    piece = -(-each // (pieces * WHOLE)) * WHOLE
    return Parts(samples, each, 1, -(-each // piece), piece)


def sums(cu: Launcher, name: str, shape: tuple[int, ...], *args: Array | float | None) -> Array:
    """Start a kernel on samples of a shape, (N, ...), and return the sums that it makes: (N,).

    The kernel takes args, then where the sums go, then Parts. `add_shares` lies beside it.
    """
    samples, each = shape[0], math.prod(shape[1:])
    found = empty((samples,))
    if each == 0:
        return np.zeros_like(found)
    parts = parts_of(samples, each)
    shares = empty((parts.blocks,)) if parts.pieces > 1 else found
    cu.launch(name, (parts.blocks,), (THREADS,), *args, shares, *parts)
    if parts.pieces > 1:
        last = parts_of(samples, parts.pieces)
        cu.launch("add_shares", (last.blocks,), (THREADS,), shares, found, *last)
    return found
