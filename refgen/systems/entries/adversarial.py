"""Games."""

from refgen.systems.entry import Entry
from refgen.systems.gan import GAN

ENTRIES = (
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
)
