"""Score models in continuous time and over noise levels."""

from refgen.systems.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
