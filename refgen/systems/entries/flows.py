"""Flows."""

from refgen.systems.entry import Entry
from refgen.systems.realnvp import RealNVP

ENTRIES = (
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
)
