"""Rows of attention, and of what tells it where and what a token is."""

from refgen.ops.catalog.op import Op

ROWS: tuple[Op, ...] = ()
