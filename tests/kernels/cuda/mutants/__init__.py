"""Bugs planted in kernels, and the layer of the tests that must catch each.

python -m tests.kernels.cuda.mutants [FAMILY ...]      a table, exit code 1 if one is missed
"""

from typing import NamedTuple

__all__ = ["Mutant"]


class Mutant(NamedTuple):
    """A change of one place in one kernel file that makes it wrong."""

    stem: str  # "noising"
    backend: str  # "cupy_cuda", "numba_cuda" or "device"
    old: str  # text that occurs once in the file
    new: str
    kind: str  # "out of bounds", "missing barrier", ...
    layer: str  # "host", "address", "thread", "nvrtc", "ptx", "simulator" or "launch"
