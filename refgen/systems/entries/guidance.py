"""Diffusion that is told something: labels, captions, small pictures, codes."""

from refgen.systems.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
