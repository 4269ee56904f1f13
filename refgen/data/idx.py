"""IDX, the format of the MNIST family, plain or gzipped.

Two zero bytes, a type byte, the number of axes, then each axis as a big-endian uint32, then the
values in C order. Labels stand beside their images under a name that says labels and idx1 where
the images' says images and idx3.
"""

import gzip
import struct
from pathlib import Path
from typing import IO, cast

from refgen.data.dataset import Dataset, dataset_of, labels_of
from refgen.data.errors import LoadError, decoding
from refgen.data.limits import admit, read_exactly
from refgen.typing import Array

GZIP = b"\x1f\x8b"
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def load_idx(path: Path) -> Dataset:
    """Load images or points, and the labels beside them where there are any."""
    raw = read_idx(path)
    beside = labels_beside(path)
    if beside is None:
        return dataset_of(path, "", raw, None)
    return dataset_of(path, "", raw, labels_of(beside, "", read_idx(beside), len(raw)))


def read_idx(path: Path) -> Array:
    """Return the array of an IDX file, its bytes counted against the header.

    Raises LoadError for another magic number, type or byte count, and what `admit` refuses.
    """
    with decoding(path):
        stored = path.stat().st_size
        with path.open("rb") as file:
            packed = file.read(2) == GZIP
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _read(path, cast(IO[bytes], unpacked), stored, packed)
            return _read(path, file, stored, packed)


def is_idx(path: Path) -> bool:
    """Tell whether a file begins as IDX or as gzip does."""
    with decoding(path), path.open("rb") as file:
        head = file.read(4)
    return head[:2] == GZIP or (head[:2] == b"\0\0" and len(head) == 4 and head[2] in DTYPES)


def labels_beside(path: Path) -> Path | None:
    """Return the labels' file, plain or gzipped, or None."""
    stem = path.name.removesuffix(".gz")
    name = stem.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    if name == stem:
        return None
    candidates = [path.with_name(name), path.with_name(name + ".gz")]
    return next((c for c in candidates if c.is_file()), None)


def _read(path: Path, stream: IO[bytes], stored: int, packed: bool) -> Array:
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in DTYPES or not 1 <= head[3] <= 4:
        reason = f"it begins with the bytes {head.hex(' ') or 'of nothing'}, which is not IDX"
        remedy = "IDX begins 00 00, a type (08 09 0b 0c 0d 0e) and 1 to 4 axes."
        raise LoadError(path, "", reason, remedy)
    dtype, axes = DTYPES[head[2]], head[3]
    sizes = stream.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise LoadError(path, "", "it ends within its header", "It is truncated: fetch it again.")
    shape = struct.unpack(f">{axes}I", sizes)
    held = None if packed else stored - 4 - 4 * axes
    admit(path, "", shape, dtype, held=held, stored=stored)
    return read_exactly(path, "", stream, shape, dtype)
