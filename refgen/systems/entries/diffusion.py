"""Denoising diffusion."""

from refgen.systems.ddim import DDIM
from refgen.systems.ddpm import DDPM
from refgen.systems.entry import Entry, network
from refgen.systems.improved_ddpm import ImprovedDDPM

MLP = {"steps": 4500, "batch": 256, "lr": 1.5e-3, "hidden": 384, "blocks": 3, "sample_steps": 0}
UNET = network(steps=1500, lr=2e-3, hidden=64, blocks=1)
DIT = network(steps=4000, lr=3e-3, hidden=96, blocks=4)
POINTS = {"steps": 4000, "batch": 512, "lr": 2e-3, "hidden": 128}
# Cosine's last level has so little signal that an error of the noise there, which a walk without
# noise does not forget, is multiplied by 20,000; on the linear schedule by 158.
STILL = {"schedule": "linear", "sample_steps": 50}

ENTRIES = (
    Entry(
        "ddpm",
        "Denoising diffusion",
        "diffusion",
        (0, 1, 2, 3, 4),
        "digits: precision 0.712, recall 0.822, copy ratio 0.9; ring: 3 % of the Bayes optimum",
        DDPM,
        {**UNET, "model": "unet", "clip": 1.0, "variance": "beta"},
        POINTS,
        {"mlp": {**MLP, "variance": "posterior"}, "dit": DIT},
    ),
    Entry(
        "improved-ddpm",
        "Denoising diffusion with learnt variances",
        "diffusion",
        (0, 1, 2, 3, 4),
        "digits: below 2.42 bits per dimension, precision 0.712, recall 0.822, copy ratio 0.9",
        ImprovedDDPM,
        {**UNET, "model": "unet", "steps": 700, "sample_steps": 250, "levels": 17, "clip": 1.0},
        POINTS,
        {"mlp": MLP, "dit": {**DIT, "sample_steps": 250}},
    ),
    Entry(
        "ddim",
        "Denoising diffusion along a path that can be inverted",
        "diffusion",
        (0, 4),
        "digits in 50 steps: precision 0.712, recall 0.822, copy ratio 0.9; ring: the toy protocol",
        DDIM,
        {**UNET, **STILL, "model": "unet", "steps": 1000, "clip": 1.0},
        {**POINTS, **STILL},
        {"mlp": {**MLP, **STILL}, "dit": {**DIT, **STILL}},
    ),
)
