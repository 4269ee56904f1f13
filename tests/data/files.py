"""Files as their formats demand, written without the loaders' help."""

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np

from refgen.data import Dataset, LoadError, load

IDX_TYPES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
BYTES = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3) * 4  # five pictures of 4 x 3
LABELS = np.array([0, 1, 2, 1, 0])
SCALED = (BYTES.astype(np.float32) / 127.5 - 1)[..., None]


def idx(values: np.ndarray) -> bytes:
    kind = IDX_TYPES[values.dtype.newbyteorder("=").str[1:]]
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def npz(compressed: bool = False, **members: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **members)
    return buffer.getvalue()


def npy_header(text: str, version: int = 1) -> bytes:
    """Return the beginning of an .npy file whose header is any text at all."""
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode("latin1")


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def write(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def outcome(spec: str) -> Dataset | LoadError:
    """Return what loading gives or says; any other exception passes."""
    try:
        return load(spec)
    except LoadError as error:
        return error


# One small valid file of each kind, for tests that damage it.
WHOLE = {
    "a.idx": idx(BYTES),
    "a.idx.gz": gzip.compress(idx(BYTES), mtime=0),
    "a.npy": npy(np.linspace(-1, 1, 12).reshape(6, 2)),
    "images.npy": npy(SCALED[:3]),
    "stored.npz": npz(data=BYTES, labels=LABELS),
    "deflated.npz": npz(compressed=True, data=BYTES, labels=LABELS),
    "a.csv": b"x,y,label\n0.5,-1e3,0\n1.25,2,1\n-7,0.0,2\n",
}
