"""The registry of systems: what `refgen systems` lists, `refgen train` builds."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from refgen.systems.classifier import Classifier
from refgen.systems.ddpm import DDPM
from refgen.systems.gan import GAN
from refgen.systems.realnvp import RealNVP
from refgen.systems.system import (
    Generative,
    Labelled,
    System,
    Turn,
    draw,
    generative,
    is_generative,
)
from refgen.systems.vae import VAE

__all__ = [
    "SYSTEMS",
    "Classifier",
    "Entry",
    "Generative",
    "Labelled",
    "System",
    "Turn",
    "build",
    "draw",
    "find",
    "generative",
    "is_generative",
]


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

    def recipe(self, kind: str, model: str = "") -> dict[str, Any]:
        """Return recipe and settings for "images" or "points", with a model that has its own."""
        chosen: dict[str, Any] = dict(getattr(self, kind))
        return chosen | dict(self.models.get(model, {}))


def _network(**sizes: Any) -> dict[str, Any]:
    """Return what the image networks of diffusion have in common, and their sizes."""
    return {"batch": 64, "sample_steps": 100, **sizes}


SYSTEMS = {
    entry.id: entry
    for entry in (
        Entry(
            "vae",
            "Variational autoencoder",
            "vae",
            (0, 1, 2, 4),
            "a linear VAE reaches the exact log-likelihood of linear-Gaussian data to 0.02 nats",
            VAE,
            {"steps": 6000, "batch": 128, "lr": 1e-3},
            {"steps": 6000, "batch": 256, "lr": 1e-3, "latent": 2, "var": 0.01},
        ),
        Entry(
            "gan",
            "Generative adversarial network",
            "gan",
            (1, 2, 4),
            "at least 7 of the ring's 8 modes; a converged discriminator is p / (p + q) to 0.03",
            GAN,
            {"steps": 6000, "batch": 128, "lr": 2e-4, "beta1": 0.5},
            {"steps": 6000, "batch": 256, "lr": 2e-3, "beta1": 0.5, "hidden": 128, "latent": 2},
        ),
        Entry(
            "ddpm",
            "Denoising diffusion",
            "diffusion",
            (0, 1, 2, 3, 4),
            "digits: precision 0.75, recall 0.5, copy ratio 0.9; ring: 3 % of the Bayes optimum",
            DDPM,
            {"steps": 4500, "batch": 256, "lr": 1.5e-3, "hidden": 384, "clip": 1.0},
            {"steps": 4000, "batch": 512, "lr": 2e-3, "hidden": 128},
            {
                "unet": _network(steps=1500, lr=2e-3, hidden=64, blocks=1),
                "dit": _network(steps=4000, lr=3e-3, hidden=96, blocks=4),
            },
        ),
        Entry(
            "realnvp",
            "Real NVP",
            "flow",
            (0, 1, 3, 4),
            "two moons: negative log-likelihood within 0.1 nats of the entropy",
            RealNVP,
            {"steps": 4000, "batch": 128, "lr": 5e-4},
            {"steps": 6000, "batch": 256, "lr": 2e-3, "hidden": 64, "layers": 12},
        ),
        Entry(
            "classifier",
            "Classifier, the judge",
            "judge",
            (0, 3),
            "right on 97 % of the held-out digits and on 84 % of the held-out clothes",
            Classifier,
            {"steps": 1000, "batch": 64, "lr": 2e-3, "classes": 10},
            {"steps": 1000, "batch": 64, "lr": 2e-3, "classes": 10},
        ),
    )
}


def find(name: str) -> Entry:
    """Return a registered system. Raises ValueError with a suggestion for an unknown name."""
    if name in SYSTEMS:
        return SYSTEMS[name]
    near = difflib.get_close_matches(name, SYSTEMS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(SYSTEMS))}"
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
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(known))}"
            raise ValueError(f"{name} has no setting {key!r}; {hint}")
    return entry.make(shape=shape, **settings)
