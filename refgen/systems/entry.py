"""What the registry says of a system: its name, what it is accepted by, and how it is trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from refgen.systems.system import System

# How a network that is told labels walks: with noise on the way what it draws is narrower.
WITHOUT_NOISE = {"sampler": "ddim", "sample_steps": 50}


@dataclass(frozen=True)
class Entry:
    """One named system of the lectures."""

    id: str
    name: str
    family: str
    lectures: tuple[int, ...]
    bar: str  # what it is accepted by
    make: Callable[..., System]
    images: Mapping[str, Any]  # recipe and settings for images: steps, batch, lr, ...
    points: Mapping[str, Any]  # the same for points
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # on top, by model
    data: str = "digits"  # what it is trained on unless told otherwise

    def recipe(self, kind: str, model: str = "") -> dict[str, Any]:
        """Return recipe and settings for "images" or "points", with a model that has its own."""
        chosen: dict[str, Any] = dict(getattr(self, kind))
        return chosen | dict(self.models.get(model, {}))


def network(**sizes: Any) -> dict[str, Any]:
    """Return what the image networks of diffusion have in common, and their sizes."""
    return {"batch": 64, "sample_steps": 100, **sizes}
