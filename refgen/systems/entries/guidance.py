"""Diffusion that is told a label."""

from refgen.systems.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
