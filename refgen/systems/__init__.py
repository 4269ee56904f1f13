"""The registry of systems: what `refgen systems` lists, `refgen train` builds."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from refgen.systems.classifier import Classifier
from refgen.systems.entries import ENTRIES
from refgen.systems.entry import Entry
from refgen.systems.system import (
    Generative,
    Labelled,
    Request,
    System,
    Turn,
    draw,
    generative,
    is_generative,
    nearest,
)

__all__ = [
    "SYSTEMS",
    "Classifier",
    "Entry",
    "Generative",
    "Labelled",
    "Request",
    "System",
    "Turn",
    "build",
    "draw",
    "find",
    "generative",
    "is_generative",
]

SYSTEMS = {entry.id: entry for entry in ENTRIES}


def find(name: str) -> Entry:
    """Return a registered system. Raises ValueError with a suggestion for an unknown name."""
    if name in SYSTEMS:
        return SYSTEMS[name]
    near = nearest(name, SYSTEMS)
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(SYSTEMS))}"
    raise ValueError(f"unknown system {name!r}; {hint}")


def build(name: str, shape: tuple[int, ...], settings: Mapping[str, Any]) -> System:
    """Return a system for examples of a shape, with settings in place of its defaults.

    Raises ValueError for an unknown system or setting, naming the nearest one that exists, and
    for values that the system refuses.
    """
    entry = find(name)
    known = {f.name for f in fields(entry.make)} - {"shape", "ops"}  # type: ignore[arg-type]
    for key in settings:
        if key not in known | {"ops"}:
            near = nearest(key, sorted(known))
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(sorted(known))}"
            raise ValueError(f"{name} has no setting {key!r}; {hint}")
    return entry.make(shape=shape, **settings)
