"""One step or a few: consistency models and distillation."""

from refgen.systems.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
