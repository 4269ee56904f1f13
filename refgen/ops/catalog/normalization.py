"""Rows of the normalizations and of the modulations that follow them."""

from refgen.ops.catalog.op import Op

ROWS: tuple[Op, ...] = ()
