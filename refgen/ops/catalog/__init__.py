"""Every op once: its name, the shapes of its arrays, what it is differentiated against.

Tests draw their arrays from these rows, benchmarks size them, tables print them.
Shapes are words: `N *S C` is a batch axis, any number of axes in between, and the channels.
"""

from refgen.ops.catalog import attention, basics, images, normalization, regularization
from refgen.ops.catalog.op import Dims, Op, resolve

__all__ = ["CATALOG", "Dims", "Op", "resolve"]

CATALOG = (
    *basics.ROWS,
    *images.ROWS,
    *normalization.ROWS,
    *attention.ROWS,
    *regularization.ROWS,
)
