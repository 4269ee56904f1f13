r"""Data sets that come with refgen: files checked by their sums, splits fixed by a file.

Shapes     N examples, n_c of them of class c.   labels, lots : (N,)

The held-out part has as many of each class as is its due, within one. The examples of a class are
ranked by lot, r = 0 .. n_c − 1, and those of smallest

    (r + ½) / n_c                                                 (CM.1)

are held out.
"""

import hashlib
from pathlib import Path

import numpy as np

from refgen.data.errors import LoadError, decoding
from refgen.typing import Array


def stratified(labels: Array, lots: Array, count: int) -> Array:
    """Return the ascending index of `count` examples that lots choose evenly over the classes."""
    order = np.argsort(lots, kind="stable")
    share = np.empty(len(labels))
    for c in np.unique(labels):
        ranked = order[labels[order] == c]
        share[ranked] = (np.arange(len(ranked)) + 0.5) / len(ranked)  # (CM.1)
    return np.sort(np.argsort(share, kind="stable")[:count])


def read_split(file: Path) -> Array:
    """Return the indices that a split file lists, (M,) int64."""
    return np.array(file.read_text().split(), dtype=np.int64)


def verify(file: Path, sha256: str) -> None:
    """Raise LoadError where a file differs from the one that was published."""
    with decoding(file):
        found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != sha256:
        reason = f"its sha256 is {found[:12]}..., not {sha256[:12]}..."
        raise LoadError(file, "", reason, "The file was changed: install refgen again.")
