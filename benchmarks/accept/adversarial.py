"""Games."""

from typing import Any

import numpy as np

from benchmarks.accept.measuring import SEEDS, Bars, Measured, trained
from refgen import metrics, tree
from refgen.data import Dataset, load
from refgen.data.toys import toy
from refgen.noise import Noise
from refgen.systems import build
from refgen.training import Recipe
from refgen.typing import Array


def accept_gan() -> Measured:
    """Modes of the ring for three seeds; a converged discriminator against p / (p + q)."""
    ring, world = load("toy:ring"), toy("ring")
    assert world.modes is not None
    covered = []
    for seed in SEEDS:
        system, state = trained("gan", ring, seed)
        samples = system.sample(state.average, 10_000, Noise(seed).at("judge"))
        covered.append(float(metrics.mode_statistics(samples, *world.modes).covered))
    return {
        "modes_best_of_three": max(covered),
        "modes": covered,
        "discriminator_error": discriminator_error(),
    }


def discriminator_error(steps: int = 15_000) -> float:
    """Train D against a fixed Gaussian generator; return its largest distance from p / (p + q).

    Over the 99 % of the mixture's mass that lies in the middle of each tail.
    """
    world = toy("bimodal")
    data = Dataset("bimodal", world.sample(200_000, Noise(5)).astype(np.float32), None, "points", 0)
    system: Any = build("gan", (1,), {"latent": 1, "hidden": 64})
    fixed = build("gan", (1,), {"latent": 1, "hidden": 64, "depth": 0})
    params: Any = system.init(Noise(0))
    params["generator"] = {"dense0": {"w": np.full((1, 1), 1.3), "b": np.array([0.4])}}
    params = tree.map(lambda a: a.astype(np.float32), params)
    game = system.game
    affine = type(game)(fixed.game.generator, game.discriminator, 1)  # type: ignore[attr-defined]
    adam = Recipe(steps, lr=2e-3).optimizer(1)
    theta, moments = params["discriminator"], adam.start(params["discriminator"])
    for k in range(1, steps + 1):
        place = Noise(7).at("step", k)
        batch, _ = data.batch(place.at("batch"), 2048)
        _, cache = affine.discriminator_forward(
            {**params, "discriminator": theta}, batch, place.at("draw")
        )
        grads = affine.discriminator_backward(np.full(2048, 1 / 2048, np.float32), cache)
        theta, moments = adam.update(system.ops, theta, grads, moments, k)
    x = np.linspace(-3.5, 4.5, 2001)[:, None]
    p, q = np.exp(world.log_density(x)), _normal(x[:, 0], 0.4, 1.3)
    mass = np.cumsum(p + q) / np.sum(p + q)
    middle = (mass > 0.005) & (mass < 0.995)
    logit, _ = game.discriminator.forward(moments["average"], x.astype(np.float32))
    d = 1 / (1 + np.exp(-logit[:, 0].astype(np.float64)))
    return float(np.max(np.abs(d - p / (p + q))[middle]))


def _normal(x: Array, mean: float, std: float) -> Array:
    density: Array = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    return density


MEASURE = {"gan": accept_gan}
BARS: dict[str, Bars] = {
    "gan": {"modes_best_of_three": (">=", 7), "discriminator_error": ("<=", 0.03)}
}
