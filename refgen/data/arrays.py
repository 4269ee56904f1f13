"""NumPy's own files: .npy, one array, and .npz, a zip archive of them. Nothing is unpickled.

The directory of the archive and the header of the array are read and judged before the array is
allocated, and the header must account for every byte.
"""

import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from refgen.data.dataset import Dataset, dataset_of, labels_of
from refgen.data.errors import LoadError, decoding
from refgen.data.limits import admit, read_exactly
from refgen.typing import Array

DATA = ("data", "images", "x")  # in this order of preference
LABELS = ("labels", "y")
MAX_HEADER = 10_000  # bytes; NumPy's own limit


def load_npy(path: Path) -> Dataset:
    """Load (N, D) points or (N, H, W[, C]) images from one array."""
    with decoding(path), path.open("rb") as stream:
        size = path.stat().st_size
        raw = _read_npy(path, "", stream, size, size)
    return dataset_of(path, "", raw, None)


def load_npz(path: Path) -> Dataset:
    """Load the member data, images or x, or the only one there is; labels or y where present."""
    member, raw, labels = read_npz(path)
    return dataset_of(path, member, raw, labels)


def read_npz(path: Path) -> tuple[str, Array, Array | None]:
    """Return (name of the member, its array, labels or None), as stored.

    Raises LoadError where it is unclear which member is meant, and for damaged or hostile files.
    """
    with decoding(path), zipfile.ZipFile(path) as archive:
        members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
        named = next((name for name in LABELS if name in members), None)
        others = [name for name in members if name not in LABELS]
        member = next((name for name in DATA if name in members), None)
        if member is None and len(others) != 1:
            reason = f"it has {len(others)} members, and none is called {', '.join(DATA)}"
            raise LoadError(path, "", reason, "Save np.savez(file, data=..., labels=...).")
        member = member or others[0]
        raw = _read_member(path, archive, member, members[member])
        if named is None:
            return member, raw, None
        labels = _read_member(path, archive, named, members[named])
        return member, raw, labels_of(path, named, labels, len(raw))


def _read_member(path: Path, archive: zipfile.ZipFile, member: str, info: zipfile.ZipInfo) -> Array:
    with decoding(path, member):
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            reason = f"it is compressed by method {info.compress_type}"
            raise LoadError(path, member, reason, "Save it with np.savez or np.savez_compressed.")
        with archive.open(info) as stream:
            return _read_npy(path, member, stream, info.file_size, info.compress_size)


def _read_npy(path: Path, member: str, stream: IO[bytes], size: int, stored: int) -> Array:
    """Read an array from a stream of `size` bytes, packed into `stored` bytes of the file."""
    magic = stream.read(8)
    if magic not in (b"\x93NUMPY\1\0", b"\x93NUMPY\2\0"):
        reason = f"it begins with the bytes {magic.hex(' ') or 'of nothing'}, which is not .npy"
        raise LoadError(path, member, reason, "Save a numeric array with np.save or np.savez.")
    prefix, read_header = (
        (struct.Struct("<H"), npy.read_array_header_1_0)
        if magic[6] == 1
        else (struct.Struct("<I"), npy.read_array_header_2_0)
    )
    packed = stream.read(prefix.size)
    length = prefix.unpack(packed)[0]
    if length > MAX_HEADER:
        reason = f"its header claims {length:,} bytes, of at most {MAX_HEADER:,}"
        raise LoadError(path, member, reason, "It is damaged: write the file again.")
    shape, fortran, dtype = read_header(BytesIO(packed + stream.read(length)))
    held = size - len(magic) - len(packed) - length
    admit(path, member, shape, dtype, held=held, stored=stored)
    values = read_exactly(path, member, stream, shape[::-1] if fortran else shape, dtype)
    return np.transpose(values) if fortran else values
