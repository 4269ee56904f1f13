"""More than labels: small pictures, captions, codes."""

from refgen.systems.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
