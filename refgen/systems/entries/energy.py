"""Energies."""

from refgen.systems.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
