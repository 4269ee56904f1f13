"""The long evidence: train each system as a user would and measure what it is accepted by.

    python -m benchmarks --accept ddpm        # minutes; writes benchmarks/results/accept/ddpm.json

Every figure is a median over three seeds unless its name says otherwise. No weights are kept.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from refgen import check, metrics, tree
from refgen.cli.backends import choose
from refgen.data import Dataset, load
from refgen.data.toys import toy
from refgen.exact import LinearGaussian
from refgen.noise import Noise
from refgen.systems import SYSTEMS, build
from refgen.training import Recipe, State, train
from refgen.typing import Array

FOLDER = Path(__file__).parent / "results" / "accept"
SEEDS = (0, 1, 2)
RECIPE = {"steps", "batch", "lr", "beta1"}
Measured = dict[str, float | list[float]]


def trained(
    name: str, data: Dataset, seed: int, recipe: dict[str, Any] | None = None, **settings: Any
) -> tuple[Any, State]:
    """Train by the registry's recipe for the kind of data, with settings and recipe on top."""
    wanted = {**SYSTEMS[name].recipe(data.kind, settings.get("model", "")), **settings}
    rates = {k: v for k, v in wanted.items() if k in RECIPE} | (recipe or {})
    chosen = {k: v for k, v in wanted.items() if k not in RECIPE}
    system = build(name, data.shape, {**chosen, "ops": choose("auto")[0]})
    plan = Recipe(**rates, seed=seed)
    every = max(1, plan.steps // 10)

    def report(state: State, row: dict[str, float]) -> None:
        if state.step % every == 0:
            losses = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k.endswith("loss"))
            print(f"{name} seed {seed}: {state.step}/{plan.steps}  {losses}", file=sys.stderr)

    return system, train(system, data, plan, on_step=report)


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
        bounds = [_loss(system, params, test_x, place.at("bound", i)) for i in range(8)]
        gaps.append(float(np.mean(world.log_density(test_x)) + np.mean(bounds)))
    digits = load("digits")
    train_set, held_out = digits.split()
    bounds = []
    for seed in SEEDS:
        system, state = trained("vae", train_set, seed)
        bounds.append(-_loss(system, state.average, held_out.data, Noise(seed).at("held-out")))
    return {
        "linear_gap_nats": statistics.median(gaps),
        "digits_elbo_nats_per_image": statistics.median(bounds),
    }


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


def accept_ddpm() -> Measured:
    """Digits: the judge's three figures. Ring: the distance to the Bayes optimum."""
    train_set, held_out = load("digits").split()
    rows = []
    for seed in SEEDS:
        system, state = trained("ddpm", train_set, seed)
        samples = system.sample(state.average, len(held_out), Noise(seed).at("judge"))
        near = metrics.knn_precision_recall(samples, held_out.data)
        copies = metrics.copy_ratio(samples, held_out.data, train_set.data)
        rows.append((near.precision, near.recall, copies))
    ring, world, ratios = load("toy:ring"), toy("ring"), []
    for seed in SEEDS:
        system, state = trained("ddpm", ring, seed)
        ratios.append(bayes_ratio(system, state, world))
    precision, recall, copy_ratio = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    return {
        "digits_precision": precision,
        "digits_recall": recall,
        "digits_copy_ratio": copy_ratio,
        "ring_bayes_distance": statistics.median(ratios),
    }


def bayes_ratio(system: Any, state: State, world: Any) -> float:
    """Return E|model − best|² over E|noise − best|² on 10⁵ pairs, t uniform."""
    schedule, params = system.process, state.average["model"]

    def predict(x: Array, t: Array) -> Array:
        noise_hat: Array = system.network.forward(params, x.astype(np.float32), t)[0]
        return noise_hat

    t = np.arange(schedule.T + 1)
    found = metrics.bayes_distance(
        predict, world, schedule.signal(t), schedule.spread(t), Noise(3).at("pairs")
    )
    return found.ratio


def accept_realnvp() -> Measured:
    """Two moons: likelihood against entropy, inverse and log-determinant at trained weights."""
    moons, world = load("toy:moons"), toy("moons")
    gaps, inverses, logdets = [], [], []
    for seed in SEEDS:
        system: Any
        system, state = trained("realnvp", moons, seed)
        params: Any = tree.map(lambda a: a.astype(np.float64), state.average)
        x = world.sample(100_000, Noise(seed).at("test"))
        gaps.append(_loss(system, params, x, Noise(0)) - world.entropy)
        flow, few = system.flow, x[:100]
        z, logdet, _ = flow.forward(params["model"], few)
        inverses.append(float(np.max(np.abs(flow.inverse(params["model"], z) - few))))

        def one(v: Array, flow: Any = flow, params: Any = params) -> Array:
            image: Array = flow.forward(params["model"], v[None])[0][0]
            return image

        pairs = zip(few, logdet, strict=True)
        logdets.append(max(check.logdet_gap(one, float(v), row) for row, v in pairs))
    return {
        "moons_gap_nats": statistics.median(gaps),
        "inverse_error": max(inverses),
        "logdet_error": max(logdets),
    }


def accept_classifier() -> Measured:
    """Digits and clothes: how often it is right on held-out images."""
    found: Measured = {}
    for name in ("digits", "fashion"):
        train_set, held_out = load(name).split()
        rates = []
        for seed in SEEDS:
            system, state = trained("classifier", train_set, seed)
            right = system.labels(state.average, held_out.data) == held_out.labels
            rates.append(float(np.mean(right)))
        found[f"{name}_accuracy"] = statistics.median(rates)
    return found


ACCEPT: dict[str, Callable[[], Measured]] = {
    "vae": accept_vae,
    "gan": accept_gan,
    "ddpm": accept_ddpm,
    "realnvp": accept_realnvp,
    "classifier": accept_classifier,
}


def accept(name: str) -> Path:
    """Measure a system and write its evidence. Raises KeyError for a name without a measurement."""
    measured = ACCEPT[name]()
    document = {
        "bar": SYSTEMS[name].bar,
        "measured": measured,
        "command": f"python -m benchmarks --accept {name}",
        "commit": commit(),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def commit() -> str | None:
    """Return the short name of the commit that runs, None outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return found or None


def _loss(system: Any, params: Any, x: Array, noise: Noise) -> float:
    terms, _ = system.gradient(params, x, noise)
    return float(np.mean(terms["loss"], dtype=np.float64))


def _normal(x: Array, mean: float, std: float) -> Array:
    density: Array = np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    return density
