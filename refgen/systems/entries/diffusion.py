"""Denoising diffusion."""

from refgen.systems.ddpm import DDPM
from refgen.systems.entry import Entry, network

ENTRIES = (
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
            "unet": network(steps=1500, lr=2e-3, hidden=64, blocks=1),
            "dit": network(steps=4000, lr=3e-3, hidden=96, blocks=4),
        },
    ),
)
