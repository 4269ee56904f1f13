"""How blocks of threads share the groups of a batch: what the norms' pages have in common.

    a bundle    a block takes neighbouring groups of one example and keeps as many rows of them as
                fit in shared memory; one launch, x is read once
    parts       where a bundle is too large: a block takes some rows of one example, all channels;
                three launches, the second one over what the parts found

Both follow from shapes and from the shared memory that a block may have.
"""

from typing import NamedTuple

from refgen.typing import Array
from refgen_kernels.device.launcher import FOUR, Launcher
from refgen_kernels.device.machine import REACH, empty, suits

LEAST = 32  # threads of a block
EACH = 8  # vectors of a bundle that a thread takes, where there are threads enough
SEGMENT, NARROW = 16, 8  # numbers of a bundle's row: 64 bytes, or 32 if more blocks fit then
ENOUGH = 1024  # numbers, at least, that make a block worth starting
COLUMNS = 256  # of a bundle of several groups, at most
BEYOND = 2  # a bundle may be so many times as large as shared memory
STATIC = 1024  # bytes of shared memory that kernels and the system take beside
THREADS = 256  # of a block that takes a part
LOADS = 8  # vectors of a part that a thread asks for at once
LONG = 16  # rows of a part, at least
BUSY = 1024  # parts of an example, enough for every corner of a GPU
RUN = 512  # rows that a block adds up


class Bundles(NamedTuple):
    """How blocks take bundles."""

    blocks: int
    threads: int
    shared: int  # bytes
    groups: int  # of a bundle
    held: int  # rows that are kept


class Parts(NamedTuple):
    """How blocks take parts."""

    each: int  # parts of an example
    rows: int  # of a part


class Sizes(NamedTuple):
    """The sizes of a batch."""

    examples: int
    places: int
    channels: int
    groups: int

    @classmethod
    def of(cls, x: Array, groups: int) -> "Sizes":
        """Return those of an array (N, *S, C) that is not empty."""
        examples, channels = x.shape[0], x.shape[-1]
        return cls(examples, x.size // (examples * channels), channels, groups)


def in_groups(x: Array, groups: int, *of_channels: Array) -> bool:
    """Tell whether a kernel takes them; the page takes what is empty, and refuses the rest."""
    if not (x.ndim > 1 and x.size > 0 and suits(x.shape, x) and groups > 0):
        return False
    divide = x.shape[-1] % groups == 0
    return divide and countable(x) and suits(x.shape[-1:], *of_channels)


def countable(x: Array) -> bool:
    """Tell whether two numbers for each example and channel can be counted."""
    examples, channels = int(x.shape[0]), int(x.shape[-1])
    return 2 * examples * channels < REACH


def bundles(cu: Launcher, sizes: Sizes, *, arrays: int, room: int, most: int) -> Bundles | None:
    """Return how blocks take bundles, or None where they are too large.

    Of each row `arrays` copies are kept, after `room` bytes for every thread; a block has `most`
    threads.
    """
    width = sizes.channels // sizes.groups
    row = FOUR * arrays * width  # bytes of a group's row
    wide = FOUR if width % FOUR == 0 else 1
    free = cu.room() - STATIC
    wanted = max(-(-SEGMENT // width), -(-ENOUGH // (width * sizes.places)))
    groups = max(1, min(wanted, sizes.groups, min(COLUMNS, most) * wide // width))
    if 2 * groups * row * sizes.places > free:  # two blocks at a time would be better
        groups = min(groups, max(1, -(-NARROW // width)))
    vectors = groups * width // wide
    busy = max(LEAST, -(-vectors * sizes.places // EACH), vectors if groups > 1 else 1)
    threads = min(most, power(busy))
    if groups * row * sizes.places > BEYOND * free:
        return None
    held = min(sizes.places, max(0, free - room * threads) // (groups * row))
    return Bundles(
        sizes.examples * -(-sizes.groups // groups),
        threads,
        room * threads + held * groups * row,
        groups,
        held,
    )


def parts_of(sizes: Sizes) -> Parts:
    """Return how blocks take parts: of an example the same ones, whatever else is in its batch."""
    vectors = sizes.channels // FOUR if sizes.channels % FOUR == 0 else sizes.channels
    down = max(1, THREADS // vectors)
    each = -(-sizes.places // max(LOADS * down, LONG, -(-sizes.places // BUSY)))
    return Parts(each, -(-sizes.places // each))


def start_parts(cu: Launcher, name: str, sizes: Sizes, *args: Array | float | None) -> None:
    """Start a kernel over all parts; it takes args, then places, channels, groups and rows."""
    parts = parts_of(sizes)
    blocks = sizes.examples * parts.each
    room = 8 * FOUR * THREADS
    cu.launch(name, (blocks,), (THREADS,), *args, *sizes[1:], parts.rows, shared=room)


def start_groups(cu: Launcher, name: str, sizes: Sizes, *args: Array | float | None) -> None:
    """Start a kernel over all groups; it takes args, then places, channels, groups, rows."""
    parts = parts_of(sizes)
    shares = parts.each * sizes.channels // sizes.groups
    threads = min(max(LEAST, power(shares)), THREADS)
    blocks, room = sizes.examples * sizes.groups, 2 * FOUR * threads
    cu.launch(name, (blocks,), (threads,), *args, *sizes[1:], parts.rows, shared=room)


def measured(cu: Launcher, x: Array, sizes: Sizes, eps: float) -> tuple[Array, ...]:
    """Return mean less the first number of the group, mean, var and rstd, each (N, G), by parts."""
    parts = parts_of(sizes)
    shares = empty((sizes.examples, parts.each, 2, sizes.channels))
    start_parts(cu, "measure_part", sizes, x, shares)
    found = tuple(empty((sizes.examples, sizes.groups)) for _ in range(4))
    start_groups(cu, "join_measures", sizes, eps, x, shares, *found)
    return found


def added(cu: Launcher, sums: Array) -> Array:
    """Return the sum over the first axis of an array (count, 2, C), in an order of its own."""
    count, _, channels = sums.shape
    width = 2 * channels
    while count > 1:
        runs = -(-count // RUN)
        more = empty((runs, 2, channels))
        cu.launch("add_rows", (-(-width // 32), runs), (THREADS,), sums, more, count, width, RUN,
                  shared=FOUR * THREADS)  # fmt: skip
        sums, count = more, runs
    total: Array = sums[0]
    return total


def power(count: int) -> int:
    """Return the power of two that is no smaller."""
    return 1 << (count - 1).bit_length()
