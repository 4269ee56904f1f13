"""Energies."""

from refgen.systems.ebm import EBM
from refgen.systems.entry import Entry

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "ebm",
        "Energy-based model",
        "energy",
        (4,),
        "moons and ring: −log p within 0.1 nats of the entropy, moons by contrastive divergence "
        "too; ring: weights within 0.01, distance 1.44; "
        "digits: precision 0.712, recall 0.822, copy ratio 0.9",
        EBM,
        {
            "steps": 3000,
            "batch": 128,
            "lr": 4e-3,
            "data_std": 0.8,
            "sigma_first": 0.15,  # about a level of gray, and left in the samples
            "denoise": False,
            "clip": 1.0,
        },
        {"steps": 1200, "batch": 256, "lr": 4e-3, "method": "likelihood", "hidden": 64},
    ),
)
