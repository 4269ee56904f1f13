"""The three products of a convolution: how they are cut into blocks, and in which precision.

A convolution ties x (N, H, W, C), w (U, V, C, O) and y (N, I, J, O) together by one sum; each of
the three has a kernel that makes it from the other two, and a dense layer is the convolution of
images of one pixel. All are products of matrices that need not be written (refgen/ops/conv.py):

    correlate    y = P(x) w           rows: windows       columns: filters     depth: u, v, c
    spread       x from y, w          rows: pixels        columns: channels    depth: u, v, o
    collect      dw = P(x)ᵀ dy, db    rows: u, v, c       columns: filters     depth: windows

A block makes a square tile of the result. Where tiles are too few to fill a GPU, the depth is cut
into parts as well, and the parts of a result are added in order. What is cut follows from sizes
alone, so results do not depend on the device.

Kernels of CUDA C++ multiply in one of three precisions, and always add in float32:

    fp32    as the page does: errors of float32
    tf32    operands rounded to 11 bits: root mean square error 3e-4 of the result's std
    bf16    operands rounded to 8 bits: 2.4e-3 of the result's std

for sums of independent terms about zero; the largest of a million errors is about five times as
large. `with precision("tf32"):` chooses for a block of code, the environment variable
REFGEN_CUDA_MATH for a process. tf32 and bf16 run on tensor cores, from compute capability 8.0 on.
Products whose channels do not fit their runs (multiples of 4; of 8 along the depth for bf16), and
all products of Numba, which has no tensor cores, stay in fp32.
"""

import copy
import math
import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, Self, cast

from refgen.typing import Array
from refgen_kernels.device.launcher import Launcher
from refgen_kernels.device.machine import REACH, empty

PRECISIONS = ("fp32", "tf32", "bf16")
MULTIPROCESSORS = 132  # of the GPU that plans are made for
TOGETHER = 512  # threads that one of them runs at the same time
SHORTEST = 8  # stages of a part
LAUNCH = 600_000  # multiplications that a multiprocessor does while a kernel is started
ADDING = 0.2  # multiplications of one multiprocessor in the time that all add one number
SMALL = 1.25  # a product by small tiles takes so much longer
ROWS = 64  # that one thread adds

AT_FIRST = os.environ.get("REFGEN_CUDA_MATH", "fp32")

_chosen = ContextVar("precision", default=AT_FIRST)


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Multiply in "fp32", "tf32" or "bf16" inside `with`. Raises ValueError for other names."""
    token = _chosen.set(_known(name))
    try:
        yield
    finally:
        _chosen.reset(token)


def _known(name: str) -> str:
    if name not in PRECISIONS:
        raise ValueError(f"there is no precision {name!r}; there are {', '.join(PRECISIONS)}")
    return name


class Sizes(NamedTuple):
    """A convolution in one group, in the order in which kernels take it."""

    n: int
    image: tuple[int, int]  # H, W
    channels: int
    windows: tuple[int, int]  # I, J
    outputs: int
    kernel: tuple[int, int]  # U, V
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)  # may be negative

    @property
    def flat(self) -> tuple[int, ...]:
        """N, H, W, C, I, J, O, U, V, strides, paddings."""
        return (
            *(self.n, *self.image, self.channels, *self.windows, self.outputs),
            *(*self.kernel, *self.stride, *self.padding),
        )

    @property
    def countable(self) -> bool:
        """Whether kernels can count the elements of all three arrays."""
        return all(
            math.prod(shape) < REACH
            for shape in (
                (self.n, *self.image, self.channels),
                (self.n, *self.windows, self.outputs),
                (*self.kernel, self.channels, self.outputs),
            )
        )


def dense_sizes(rows: int, inputs: int, outputs: int) -> Sizes:
    """Return a dense layer as a convolution: every row is an image of one pixel."""
    return Sizes(rows, (1, 1), inputs, (1, 1), outputs, (1, 1))


class Tiling(NamedTuple):
    """Kernels that make square tiles, and how they go about it."""

    cu: Launcher
    side: int  # of a tile
    depth: int  # of a stage
    threads: int  # of a block


class Products(Launcher):
    """The kernels of all products."""

    sides: tuple[int, ...]  # of tiles, for which there are kernels
    turned: int  # side of the tiles of add_taps

    @abstractmethod
    def tiling(self, side: int, wide: bool, precision: str) -> Tiling:
        """Return kernels for tiles of a side; `wide` where runs of four floats are aligned."""

    def of(self, module: str) -> Self:
        """Return these kernels for the ops of another module."""
        other = copy.copy(self)
        other.module_name = module
        return other


class Shape(NamedTuple):
    """A product, as what cuts it sees it."""

    rows: int
    columns: int
    depth: int
    along: tuple[int, ...]  # channels whose runs lie along the depth
    across: tuple[int, ...]  # and across it
    phases: int = 1  # that share the rows


class Plan(NamedTuple):
    """How a product is cut."""

    tiling: Tiling
    tiles: int  # of a phase
    parts: int
    deep: int  # stages of a part


def correlate(cu: Launcher, x: Array, w: Array, b: Array | None, sizes: Sizes) -> Array:
    """Return y = P(x) w + b, (N, I, J, O)."""
    n, _, c, (i, j), o, (u, v), *_ = sizes
    shape = Shape(n * i * j, o, u * v * c, along=(c,), across=(o,))
    return _product(cu, "correlate", shape, (x, w), b, (n, i, j, o), sizes)


def spread(cu: Launcher, y: Array, w: Array, b: Array | None, sizes: Sizes) -> Array:
    """Return the adjoint of `correlate` in x, plus b, (N, H, W, C)."""
    n, (h, width), c, _, o, (u, v), (sv, sh), _ = sizes
    rows = n * -(-h // sv) * -(-width // sh)  # of the largest phase
    depth = -(-u // sv) * -(-v // sh) * o
    shape = Shape(rows, c, depth, along=(o,), across=(), phases=sv * sh)
    return _product(cu, "spread", shape, (y, w), b, (n, h, width, c), sizes)


def collect(cu: Launcher, x: Array, dy: Array, sizes: Sizes) -> tuple[Array, Array]:
    """Return dw = P(x)ᵀ dy, (U, V, C, O), and the sums of dy, (O,)."""
    n, _, c, (i, j), o, (u, v), *_ = sizes
    rows = u * v * c
    if rows == 0:
        return empty((u, v, c, o)), add_rows(cu, dy, o)
    shape = Shape(rows, o, n * i * j, along=(), across=(c, o))
    both = _product(cu, "collect", shape, (x, dy), None, (rows + 1, o), sizes)
    return both[:rows].reshape(u, v, c, o), both[rows]


def add_rows(cu: Launcher, x: Array, columns: int) -> Array:
    """Return the sums of the columns of x, seen as a matrix."""
    rows = x.size // max(columns, 1)
    while True:
        parts = max(1, -(-rows // ROWS))
        y = empty((parts, columns))
        cu.each("add_rows", y.size, x, None, y, rows, columns, ROWS, max(columns, 1), y.size)
        if parts == 1:
            return y.reshape(columns)
        x, rows = y, parts


def add_taps(cu: Launcher, w: Array, kernel: tuple[int, int]) -> Array:
    """Return filters of which each tap is a sum of four taps of w, channels exchanged."""
    side, (r, s, a, b), (p, q) = cast(Products, cu).turned, w.shape, kernel
    sums = empty((p, q, b, a))
    grid = (-(-a // side) * -(-b // side), p * q)
    cu.launch("add_taps", grid, (side * min(side, 8),), w, sums, r, s, a, b, p, q)
    return sums


def _product(
    cu: Launcher,
    name: str,
    shape: Shape,
    factors: tuple[Array, Array],
    b: Array | None,
    result: tuple[int, ...],
    sizes: Sizes,
) -> Array:
    """Return a product; start its kernel, and a second one to add the parts."""
    tiling, tiles, parts, deep = _plan(cast(Products, cu), shape)
    y = empty(result)
    given = (*factors, b if parts == 1 else None) if name != "collect" else factors
    shares = y if parts == 1 else empty((parts, y.size))
    grid = (tiles, 1, shape.phases * parts)
    tiling.cu.launch(name, grid, (tiling.threads,), *given, shares, *sizes.flat, deep)
    if parts > 1:
        last = result[-1]
        tiling.cu.each("add_rows", y.size, shares, b, y, parts, y.size, parts, last, y.size)
    return y


def _plan(cu: Products, shape: Shape) -> Plan:
    """Return the way to cut a product that takes the least time."""
    wide = all(c % 4 == 0 for c in shape.along + shape.across)
    name = _known(_chosen.get())
    if not wide or (name == "bf16" and any(c % 8 for c in shape.along)):
        name = "fp32"
    plans = [
        (_time(plan, shape), plan)
        for tiling in (
            cu.tiling(side, wide, name) for side in (cu.sides if wide else cu.sides[-1:])
        )
        for plan in _cuts(tiling, shape)
    ]
    return min(plans, key=lambda timed: timed[0])[1]


def _cuts(tiling: Tiling, shape: Shape) -> Iterator[Plan]:
    """Yield plans without parts, and with as many as fill the GPU once."""
    tiles = -(-shape.rows // tiling.side) * -(-shape.columns // tiling.side)
    stages = max(1, -(-shape.depth // tiling.depth))
    yield Plan(tiling, tiles, 1, stages)
    slots = MULTIPROCESSORS * max(1, TOGETHER // tiling.threads)
    fits = slots // max(tiles * shape.phases, 1)
    deep = -(-stages // max(1, min(fits, stages // SHORTEST)))
    if deep < stages:
        yield Plan(tiling, tiles, -(-stages // deep), deep)


def _time(plan: Plan, shape: Shape) -> float:
    """Return about how long a plan takes, in multiplications of one multiprocessor."""
    tiling, tiles, parts, deep = plan
    turns = -(-tiles * shape.phases * parts // MULTIPROCESSORS)
    work = turns * deep * tiling.depth * tiling.side**2 * (SMALL if tiling.side < 128 else 1.0)
    added = (parts + 1) * shape.rows * shape.phases * shape.columns
    return work + (LAUNCH + ADDING * added) * (parts > 1)
