"""Rows of what images pass through: convolutions and changes of resolution."""

from refgen.ops.catalog.op import Op

ROWS: tuple[Op, ...] = ()
