r"""Networks and samplers on a toy whose best prediction is known: python -m benchmarks.toys.

    python -m benchmarks.toys                how far trained networks are from the Bayes optimum
    python -m benchmarks.toys --samplers     samples of every sampler, by one trained network

The toy and the networks are those of toys_taught.py. Samplers that walk another path than VP are
told the noise in x by (OT.1):

    paths with one b/a differ by a factor:   ε̂(x, σ) = ε̂_VP(a(t) x, t),   b(t)/a(t) = σ   (OT.1)

Everything is written to benchmarks/results/toys/ as it is found, with how it is judged
(refgen.metrics.bayes and points).
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from benchmarks.toys_taught import (
    KINDS,
    LEAST,
    LEVELS,
    MODES,
    MOST,
    PATH,
    SCHEDULE,
    SEEDS,
    WORLD,
    Predict,
    bayes,
    distance,
    taught,
    write,
)
from refgen import metrics
from refgen.noise import Noise
from refgen.processes import (
    geometric,
    karras,
    log_uniform,
    time_of,
    times_on_path,
    times_on_schedule,
)
from refgen.samplers import (
    sample_ancestral,
    sample_annealed_langevin,
    sample_ddim,
    sample_dpm_solver_2m,
    sample_dpm_solver_2s,
    sample_edm,
    sample_langevin,
    sample_predictor_corrector,
    sample_probability_flow,
    sample_reverse_sde,
)
from refgen.typing import Array

INNER = 30  # steps at each level of annealed Langevin


@dataclass(frozen=True)
class Start:
    """What a walk begins with."""

    predict: Predict
    count: int
    noise: Noise
    steps: int

    def x(self, std: float = 1.0) -> Array:
        """Return a draw of N(0, std²), float32 as the network."""
        x: Array = std * self.noise.at("start").normal((self.count, 2), dtype=np.float32)
        return x


Walk = Callable[[Start], Array]


class Row(NamedTuple):
    """A sampler, its budget, and the calls that so many steps make."""

    walk: Walk
    steps: int
    calls: Callable[[int], int]


def on_schedule(sampler: Callable[..., Array], **how: Any) -> Walk:
    """Walk levels of the schedule, Karras's spacing."""

    def walk(start: Start) -> Array:
        times = times_on_schedule(SCHEDULE, karras(start.steps, MOST, LEAST))

        def predict(x: Array, t: int) -> Array:
            return start.predict(x, t / LEVELS)

        return sampler(predict, start.x(), SCHEDULE, start.noise, times=times, **how)

    return walk


def on_path(
    sampler: Callable[..., Array],
    spacing: Callable[..., tuple[float, ...]] = karras,
    *,
    draws: bool = True,
    to_zero: bool = True,
    **how: Any,
) -> Walk:
    """Walk times of the path, to 0 or to the first that is learned."""

    def walk(start: Start) -> Array:
        inner = times_on_path(PATH, spacing(start.steps + (not to_zero), MOST, LEAST)[:-1])
        times = [*inner, 0.0] if to_zero else inner
        drawn = (start.noise,) if draws else ()
        return sampler(start.predict, start.x(), PATH, *drawn, times=times, **how)

    return walk


def noise_at(predict: Predict, x: Array, sigma: float) -> Array:
    """Return the noise in x = data + σ noise."""
    t = float(time_of(PATH, -2 * math.log(sigma)))
    return predict(float(PATH.levels(t).a) * x, t)  # (OT.1)


def edm(churn: float, most: float = 80.0) -> Walk:
    """Walk noise levels by EDM's sampler."""

    def walk(start: Start) -> Array:
        def denoise(x: Array, sigma: float) -> Array:
            return x - sigma * noise_at(start.predict, x, sigma)

        sigmas = karras(start.steps, most, LEAST)
        return sample_edm(denoise, start.x(most), sigmas, start.noise, churn=churn)

    return walk


def langevin(start: Start) -> Array:
    """Walk by plain Langevin's steps, with the score at the least noise, from N(0, 2²)."""

    def score(x: Array) -> Array:
        return noise_at(start.predict, x, LEAST) * (-1 / LEAST)

    return sample_langevin(score, start.x(2.0), start.noise, step=2e-3, steps=start.steps)


def annealed(start: Start) -> Array:
    """Walk by Algorithm 1: a level for every 30 steps, from 3 to 0.03, and the mean at last."""
    sigmas = [float(sigma) for sigma in geometric(start.steps // INNER, 3.0, 0.03)]

    def score(x: Array, sigma: float) -> Array:
        return noise_at(start.predict, x, sigma) * (-1 / sigma)

    return sample_annealed_langevin(
        score,
        start.x(3.0),
        sigmas,
        start.noise,
        step=0.4 * sigmas[-1] ** 2,
        inner=INNER,
        denoise=True,
    )


def flow(rule: str) -> Walk:
    """Walk the probability flow by a rule."""
    return on_path(sample_probability_flow, draws=False, to_zero=False, rule=rule)


def once(n: int) -> int:
    """Return the calls of a sampler that takes one a step."""
    return n


SAMPLERS: dict[str, Row] = {
    "ancestral, posterior": Row(on_schedule(sample_ancestral), 250, once),
    "ancestral, beta": Row(on_schedule(sample_ancestral, variance="beta"), 200, once),
    "ancestral, between": Row(on_schedule(sample_ancestral, variance="between"), 200, once),
    "ddim": Row(on_schedule(sample_ddim), 150, once),
    "ddim, eta 1/2": Row(on_schedule(sample_ddim, eta=0.5), 200, once),
    "flow, euler": Row(flow("euler"), 200, once),
    "flow, midpoint": Row(flow("midpoint"), 30, lambda n: 2 * n),
    "flow, heun": Row(flow("heun"), 30, lambda n: 2 * n),
    "flow, rk4": Row(flow("rk4"), 15, lambda n: 4 * n),
    "dpm-solver++ 2m": Row(on_path(sample_dpm_solver_2m, log_uniform, draws=False), 40, once),
    "dpm-solver++ 2s": Row(on_path(sample_dpm_solver_2s, log_uniform, draws=False), 60, once),
    "edm": Row(edm(0.0), 20, lambda n: 2 * n - 1),
    "edm, churn 10": Row(edm(10.0), 80, lambda n: 2 * n - 1),
    "reverse sde": Row(on_path(sample_reverse_sde), 250, once),
    "predictor-corrector": Row(
        on_path(sample_predictor_corrector, predictor="ancestral"), 150, lambda n: 2 * n - 1
    ),
    "annealed langevin": Row(annealed, 600, lambda n: n + 1),
    "langevin": Row(langevin, 300, once),
}


FAILS = {  # and why
    "annealed langevin": "weights lag behind the levels; its many last steps feel the network most",
    "langevin": "no step crosses from mode to mode: weights are those of where the walk began",
}


def exact(x: Array, t: float) -> Array:
    """Return the best prediction of the noise: what no network is better than."""
    levels = PATH.levels(t)
    return WORLD.noise_mean(x, float(levels.a), float(levels.b)).astype(x.dtype)


@cache
def walker() -> tuple[Predict, float]:
    """Return a pupil's prediction, and its distance to the Bayes optimum; half as wide, for speed.

    It is trained once in a process.
    """
    pupil, params = taught("v", 0, hidden=64)
    return pupil.predictor(params), distance(pupil, params).ratio


def judged(row: Row, predict: Predict, draws: int = 20) -> metrics.ToyVerdict:
    """Judge a sampler at its budget by the protocol."""

    def sample(count: int, noise: Noise) -> Array:
        return row.walk(Start(predict, count, noise, row.steps)).astype(np.float64)

    return metrics.toy_protocol(sample, WORLD, MODES, Noise(5).at("protocol"), draws=draws)


def samplers(names: Sequence[str], predict: Predict, draws: int, file: str, who: str) -> None:
    """Judge samplers; print and write what is found, one after another."""
    rows: dict[str, dict[str, Any]] = {}
    print(f"{'':22} calls  ratio  weights   std  passes", flush=True)
    for name in names:
        row, begun = SAMPLERS[name], time.perf_counter()
        found = judged(row, predict, draws)
        calls = row.calls(row.steps)
        rows[name] = {
            "steps": row.steps,
            "calls": calls,
            "ratio": round(found.ratio, 3),
            "deviation": round(found.deviation, 2),
            "spread": round(found.spread, 4),
            "passes": found.passes,
        }
        print(
            f"{name:22} {calls:5d} {found.ratio:6.2f} {found.deviation:8.2f} {found.spread:6.3f}"
            f"  {'yes' if found.passes else 'NO':3} ({time.perf_counter() - begun:.0f} s)",
            flush=True,
        )
        write(file, {"predictor": who, "draws": draws, "samplers": rows})


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.toys", description=__doc__)
    p.add_argument("--samplers", action="store_true", help="judge samplers, not networks")
    p.add_argument("--exact", action="store_true", help="with the exact prediction, no network")
    p.add_argument("--only", default="", metavar="LIST", help="kinds or samplers, with ; between")
    p.add_argument("--draws", type=int, default=20, metavar="N", help="sets of 10,000 samples")
    options = p.parse_args(argv)
    wanted = [name for name in options.only.split(";") if name]
    if not options.samplers:
        bayes(wanted or KINDS, SEEDS)
    elif options.exact:
        samplers(wanted or list(SAMPLERS), exact, options.draws, "samplers_exact.json", "exact")
    else:
        predict, ratio = walker()
        who = f"an MLP of v, {100 * ratio:.2f} % of the Bayes optimum"
        samplers(wanted or list(SAMPLERS), predict, options.draws, "samplers.json", who)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
