"""Rows of what keeps a training honest: dropout, spectral norm, rounding, minibatches."""

from refgen.ops.catalog.op import Op

ROWS: tuple[Op, ...] = ()
