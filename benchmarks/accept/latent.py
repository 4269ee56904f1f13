"""VAEs."""

import statistics
from typing import Any

import numpy as np

from benchmarks.accept.measuring import SEEDS, Bars, Measured, loss_of, trained
from refgen import tree
from refgen.data import Dataset, load
from refgen.exact import LinearGaussian
from refgen.noise import Noise


def accept_vae() -> Measured:
    """Linear VAE on linear-Gaussian data against log p(x); then the bound on held-out digits."""
    gaps = []
    for seed in SEEDS:
        place = Noise(seed).at("linear-gaussian")
        world = LinearGaussian(place.at("weight").normal((5, 2)), place.at("bias").normal(5), 0.3)
        train_x, _ = world.sample(20_000, place.at("train"))
        test_x, _ = world.sample(50_000, place.at("test"))
        data = Dataset("linear-gaussian", train_x.astype(np.float32), None, "points", 0)
        recipe = {"steps": 20_000, "batch": 256, "lr": 1e-2}
        system, state = trained("vae", data, seed, recipe, depth=0, latent=2, var=world.var)
        params: Any = tree.map(lambda a: a.astype(np.float64), state.average)
        bounds = [loss_of(system, params, test_x, place.at("bound", i)) for i in range(8)]
        gaps.append(float(np.mean(world.log_density(test_x)) + np.mean(bounds)))
    digits = load("digits")
    train_set, held_out = digits.split()
    bounds = []
    for seed in SEEDS:
        system, state = trained("vae", train_set, seed)
        bounds.append(-loss_of(system, state.average, held_out.data, Noise(seed).at("held-out")))
    return {
        "linear_gap_nats": statistics.median(gaps),
        "digits_elbo_nats_per_image": statistics.median(bounds),
    }


MEASURE = {"vae": accept_vae}
BARS: dict[str, Bars] = {"vae": {"linear_gap_nats": ("within", 0.02)}}
