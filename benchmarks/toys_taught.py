r"""A toy whose best prediction is known, and networks that are taught there in every way.

The toy has eight Gaussians on a circle of radius 2, every other one three times as heavy and two
thirds as wide: no symmetry gives a sampler weights that it did not find. One path, VP, is learned
at all times. `python -m benchmarks.toys` trains the networks and says how far each is from the
Bayes optimum (refgen.metrics.bayes).
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accept.measuring import commit
from refgen import metrics
from refgen.cli.backends import choose
from refgen.data import Dataset
from refgen.exact import Mixture
from refgen.models.mlp import TimeMLP
from refgen.noise import Noise
from refgen.objectives import Denoising, UniformTimes
from refgen.ops.protocol import Ops
from refgen.processes import (
    VP,
    convert,
    discretized,
    of_path,
)
from refgen.systems.system import Turn
from refgen.training import Recipe, train
from refgen.training.files import write_whole
from refgen.typing import Array, Grads, Params

FOLDER = Path(__file__).parent / "results" / "toys"
KINDS = ("noise", "data", "v", "score")
SEEDS = (0, 1, 2)
RECIPE = Recipe(8000, batch=512, lr=2e-3)
BAR = 0.02
FIRST = 1e-3  # the smallest time that is learned
LEVELS = 1000  # of the schedule, and of the times at which a network is judged
ROWS = 2000  # points that go through the network together: more would not stay in the caches
ANGLES = np.arange(8) * (np.pi / 4)
WORLD = Mixture(
    np.tile([1.0, 3.0], 4) / 16,
    2.0 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1),
    np.tile([0.15, 0.1], 4) ** 2,
)
MODES = WORLD.means, WORLD.weights, np.sqrt(WORLD.var)
PATH = VP()
SCHEDULE = discretized(PATH, LEVELS)
MOST, LEAST = (float(at.b / at.a) for at in (PATH.levels(1.0), PATH.levels(FIRST)))  # in σ

Predict = Callable[[Array, float], Array]  # (x, t of VP) -> the noise in x


@dataclass(frozen=True)
class Pupil:
    """A residual MLP that predicts one kind on the path, as a system that can be trained."""

    kind: str = "noise"
    hidden: int = 128
    blocks: int = 3
    shape: tuple[int, ...] = (2,)
    ops: Ops = field(default_factory=lambda: choose("auto")[0], repr=False, compare=False)

    @property
    def objective(self) -> Denoising:
        """The denoising loss, every error of the noise weighing 1."""
        network = TimeMLP(2, self.hidden, self.blocks, ops=self.ops)
        return Denoising(network, PATH, self.kind, times=UniformTimes(FIRST), ops=self.ops)

    def init(self, noise: Noise) -> Params:
        """Draw {"model": ...}."""
        return {"model": self.objective.model.init(noise)}  # type: ignore[attr-defined]

    def turns(self) -> tuple[Turn, ...]:
        """One player, one loss."""
        return (Turn("model", self.gradient),)

    def gradient(self, params: Any, batch: Array, noise: Noise) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example, gradient of the mean loss)."""
        objective = self.objective
        terms, cached = objective.forward(params["model"], batch, noise)
        mean = np.full_like(terms["loss"], 1 / len(batch))
        return terms, objective.backward(mean, cached)

    def predictor(self, params: Any) -> Predict:
        """Return the noise in x at one time of the path, the network's answer converted."""
        model, kind = self.objective.model, self.kind

        def predict(x: Array, t: float) -> Array:
            told, levels = np.full(1, 1000 * t, np.float32), PATH.levels(t)
            parts = [x[i : i + ROWS] for i in range(0, len(x), ROWS)]
            said = [model.forward(params["model"], part, told)[0] for part in parts]
            return convert(x, np.concatenate(said), kind, "noise", levels)

        return predict


def taught(kind: str, seed: int, hidden: int = 128) -> tuple[Pupil, Any]:
    """Return a pupil and its average parameters, trained on 400,000 draws of the toy."""
    points = WORLD.sample(400_000, Noise(seed).at("data")).astype(np.float32)
    pupil = Pupil(kind, hidden)
    data = Dataset("uneven", points, None, "points", 0)
    return pupil, train(pupil, data, replace(RECIPE, seed=seed)).average


def distance(pupil: Pupil, params: Any) -> metrics.BayesDistance:
    """Return the distance to the Bayes optimum on 10⁵ pairs, t uniform."""
    levels = of_path(PATH, LEVELS)

    def predict(x: Array, t: Array) -> Array:
        return pupil.objective.predict(params["model"], x.astype(np.float32), t / LEVELS)

    return metrics.bayes_distance(predict, WORLD, levels.a, levels.b, Noise(3).at("pairs"))


def bayes(kinds: Sequence[str], seeds: Sequence[int]) -> None:
    """Train every kind from every seed; print and write the distances, decile by decile."""
    found: dict[str, list[metrics.BayesDistance]] = {kind: [] for kind in kinds}
    for seed in seeds:
        for kind in kinds:
            found[kind].append(distance(*taught(kind, seed)))
            print(f"{kind} seed {seed}: {100 * found[kind][-1].ratio:.2f} %", flush=True)
        kept = {kind: _kept(rows) for kind, rows in found.items()}
        write("bayes.json", {"bar": BAR, "seeds": len(found[kinds[0]]), "kinds": kept})
    print(bayes_table(kept))


def _kept(rows: Sequence[metrics.BayesDistance]) -> dict[str, Any]:
    """Return medians over seeds."""
    first = rows[0].deciles

    def middle(values: Sequence[float]) -> float:
        return float(f"{statistics.median(values):.4g}")

    return {
        "ratio": middle([row.ratio for row in rows]),
        "ratios": [float(f"{row.ratio:.4g}") for row in rows],
        "deciles": [
            {"t_first": int(first[i]["t_first"]), "t_last": int(first[i]["t_last"])}
            | {
                key: middle([row.deciles[i][key] for row in rows])
                for key in ("excess", "floor", "ratio")
            }
            for i in range(len(first))
        ],
    }


def bayes_table(kept: dict[str, Any]) -> str:
    """Return the excess over the floor in percent, a decile of t a row."""
    kinds = list(kept)
    lines = ["t in 1/1000     floor" + "".join(f"{kind:>10}" for kind in kinds)]
    for i, row in enumerate(kept[kinds[0]]["deciles"]):
        shown = "".join(f"{100 * kept[kind]['deciles'][i]['ratio']:9.2f}%" for kind in kinds)
        lines.append(f"{row['t_first']:4d} .. {row['t_last']:4d} {row['floor']:9.5f}" + shown)
    total = "".join(f"{100 * kept[kind]['ratio']:9.2f}%" for kind in kinds)
    return "\n".join([*lines, f"{'all':>12} {'':9}" + total])


def write(name: str, found: dict[str, Any]) -> None:
    """Write what was found, with the command and the commit that found it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    known = {"command": "python -m benchmarks.toys", "commit": commit()}
    text = json.dumps(found | known, indent=1) + "\n"
    write_whole(FOLDER / name, lambda file: file.write(text.encode()))
