"""Autoencoders."""

from refgen.systems.entry import Entry
from refgen.systems.vae import VAE

ENTRIES = (
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
)
