"""The kernels of all products, in a module for each tile and precision; see products.cu."""

from functools import lru_cache

from refgen_kernels.cupy_cuda.source import Source
from refgen_kernels.device.products import PRECISIONS, Products, Tiling

TURNED = 32  # side of the tiles of add_taps
DEPTH = {"fp32": 8, "tf32": 16, "bf16": 32}  # of a stage


@lru_cache
def variant(side: int, wide: bool, precision: str) -> Source:
    """Return the text for one tile, one width of runs and one precision."""
    math = PRECISIONS.index(precision)
    return Source(__name__, TILE=side, WIDE=4 if wide else 1, MATH=math, TURNED=TURNED)


class Variants(Products, Source):
    """All of them; what is not a product of matrices is in each."""

    sides = (128, 64)
    turned = TURNED

    def tiling(self, side: int, wide: bool, precision: str) -> Tiling:
        """Return kernels for tiles of a side; `wide` where runs of four floats are aligned."""
        return Tiling(variant(side, wide, precision), side, DEPTH[precision], 2 * side)


CU = Variants(__name__, TILE=128, WIDE=4, MATH=0, TURNED=TURNED)
