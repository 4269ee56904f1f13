"""How much a file may ask for, judged from its header before anything is allocated.

A header of a few bytes can declare any shape, and a compressed megabyte can inflate to a
gigabyte. So a shape is admitted first, then read in chunks into an array of exactly that size,
and then the stream must end.
"""

import math
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from refgen.data.errors import LoadError
from refgen.typing import Array

MAX_BYTES = 4 * 2**30  # that one array may take, as stored and as float32
MAX_EXPANSION = 200  # bytes that one compressed byte may become, beyond the first FREE_BYTES
FREE_BYTES = 64 * 2**20
CHUNK = 2**20  # bytes read at a time


def admit(
    file: Path,
    member: str,
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    *,
    held: int | None,
    stored: int,
) -> None:
    """Let an array pass that a header declares, before it is allocated.

    `held` is the number of bytes that follow the header, None where a compressed stream does not
    say; in the file they take `stored` bytes. Raises LoadError for a type that is not numeric, a
    rank other than 1 to 4, an empty array, more bytes than MAX_BYTES, more or fewer than are
    held, and more than MAX_EXPANSION lets so small a file become.
    """
    kind = np.dtype(dtype)
    if kind.kind not in "uif" or kind.itemsize > 8:
        reason = f"it holds {_plain(kind)}, and only plain numbers are read"
        remedy = "Save an array of integers or floats of at most 64 bits: nothing is unpickled."
        raise LoadError(file, member, reason, remedy)
    if not 1 <= len(shape) <= 4 or min(shape) < 1:
        reason = f"its shape {_short(shape)} is empty or has the wrong number of axes"
        remedy = "Images are (N, H, W, C) or (N, H, W), points (N, D)."
        raise LoadError(file, member, reason, remedy)
    count = math.prod(shape)
    declared, needed = count * kind.itemsize, count * max(kind.itemsize, 4)
    if needed > MAX_BYTES:
        reason = f"its header declares {_short(shape)} values, which need more than {MAX_BYTES:,}"
        remedy = "If the header is right and memory suffices, raise refgen.data.limits.MAX_BYTES."
        raise LoadError(file, member, f"{reason} bytes", remedy)
    if held is not None and declared != held:
        reason = f"its header says {_short(shape)} = {declared:,} bytes, but {held:,} follow it"
        what = "truncated" if held < declared else "damaged"
        raise LoadError(file, member, reason, f"It is {what}: fetch or write it again.")
    if declared > max(FREE_BYTES, MAX_EXPANSION * stored):
        reason = f"{stored:,} compressed bytes declare {declared:,}, as a decompression bomb would"
        raise LoadError(file, member, reason, "If you trust the file, store it uncompressed.")


def read_exactly(
    file: Path, member: str, stream: IO[bytes], shape: tuple[int, ...], dtype: npt.DTypeLike
) -> Array:
    """Read an admitted array in C order; the stream must hold its bytes and not one more.

    Raises LoadError for a stream that is shorter or longer.
    """
    values = np.empty(shape, dtype)
    target = memoryview(cast(bytearray, values.reshape(-1).view(np.uint8)))
    filled = 0
    while filled < len(target):
        piece = stream.read(min(CHUNK, len(target) - filled))
        if not piece:
            reason = f"its header declares {len(target):,} bytes, but {filled:,} follow"
            raise LoadError(file, member, reason, "It is truncated: fetch or write it again.")
        target[filled : filled + len(piece)] = piece
        filled += len(piece)
    if stream.read(1):
        reason = f"its header declares {len(target):,} bytes, and more than that follow"
        raise LoadError(file, member, reason, "Header or data are damaged: fetch it again.")
    return values


def _plain(kind: np.dtype[np.generic]) -> str:
    return "pickled objects" if kind.hasobject else f"values of type {str(kind)[:60]}"


def _short(shape: tuple[int, ...]) -> str:
    """Spell a shape that came from a file: it may be longer than the file is worth."""
    text = " x ".join(f"{n:,}" if abs(n) < 2**64 else "(a huge number)" for n in shape[:8])
    return f"({text}{' x ...' if len(shape) > 8 else ''})"
