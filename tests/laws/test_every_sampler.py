"""One table of all samplers, and what each of them must do with exact predictions.

A row says how a sampler is run, how often it calls the network, how many steps it takes unless
told otherwise here, and by how much mean and covariance may then be off.
"""

import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import refgen.samplers
from refgen import ops as reference
from refgen.exact import Gaussian, Mixture
from refgen.noise import Noise
from refgen.processes import linear
from refgen.processes.path import EDM, VE, VP
from refgen.processes.schedule import geometric
from refgen.processes.spacing import (
    SPACINGS,
    karras,
    log_uniform,
    sections,
    times_on_schedule,
)
from refgen.samplers.ancestral import sample_ancestral, sample_ancestral_learned
from refgen.samplers.ddim import sample_ddim
from refgen.samplers.dpm_solver import sample_dpm_solver_2m, sample_dpm_solver_2s
from refgen.samplers.edm import sample_edm
from refgen.samplers.langevin import sample_annealed_langevin, sample_langevin
from refgen.samplers.predictor_corrector import sample_predictor_corrector
from refgen.samplers.probability_flow import sample_probability_flow
from refgen.samplers.sde import sample_reverse_sde
from refgen.samplers.walk import trace
from tests.laws.affine import moments

WORLD = Gaussian(np.array([0.5, -0.3]), np.array([[0.6, 0.2], [0.2, 0.4]]))
BLOBS = Mixture(np.array([0.3, 0.7]), np.array([[-1.0, 0.0], [1.0, 0.5]]), np.array([0.09, 0.05]))
WORLDS = {"gaussian": WORLD, "mixture": BLOBS}
FULL = 10  # the longest walk on which calls are counted; times are its parts, level t at t/FULL
FIRST = 1e-3  # where walks end that cannot reach t = 0


@dataclass(frozen=True)
class Row:
    """A sampler, run in a world.

    run(world, x, noise, times, ops, watch) walks a list of whole numbers, falling from its first
    to 0, each of them that part of the way; watch goes round whatever it asks of the network.
    """

    sampler: Callable
    run: Callable
    calls: Callable[[int], int]  # of the number of steps
    steps: int  # the budget
    std: float = 1.0  # of the start
    tolerance: float = 0.02  # of mean and covariance, with no draw


def of_schedule(sampler, predict_of=lambda noise_hat: noise_hat, **how):
    """Run a sampler of whole levels."""

    def run(world, x, noise, times, ops, watch):
        T = times[0]
        schedule = linear(T, 0.1 / T, min(20 / T, 0.99))

        def predict(x, t):
            return predict_of(world.noise_mean(x, schedule.signal(t), schedule.spread(t)))

        return sampler(watch(predict), x, schedule, noise, times=times, ops=ops, **how)

    return run


def of_path(sampler, path, place, *, draws=True, table=True, **how):
    """Run a sampler of a path; place says which time a part of the way is."""

    def run(world, x, noise, times, ops, watch):
        def predict(x, t):
            a, b, _, _ = path.levels(t)
            return world.noise_mean(x, float(a), float(b))

        drawn = (noise,) if draws else ()
        tables = {"ops": ops} if table else {}
        walk = [place(t / times[0]) for t in times]
        return sampler(watch(predict), x, path, *drawn, times=walk, **tables, **how)

    return run


def of_sigmas(churn):
    """Run EDM's sampler on its list of noise levels."""

    def run(world, x, noise, times, ops, watch):
        ends, power = (0.02, 20.0), 1 / 7
        low, high = (end**power for end in ends)
        sigmas = [(low + (high - low) * (t - 1) / max(times[0] - 1, 1)) ** 7 for t in times[:-1]]
        denoise = watch(lambda x, sigma: world.data_mean(x, 1.0, sigma))
        return sample_edm(denoise, x, [*sigmas, 0.0], noise, churn=churn, ops=ops)

    return run


def plain_langevin(world, x, noise, times, ops, watch):
    """Run Langevin's walk from within the modes, between which it does not move."""
    start = x if world is WORLD else world.sample(len(x), Noise(9))
    score = watch(lambda x, t=0: world.score(x))
    return sample_langevin(score, start, noise, step=0.01, steps=len(times) - 1, ops=ops)


def annealed_langevin(world, x, noise, times, ops, watch):
    """Run Algorithm 1 with T = 50 and one level for every step of the list."""
    levels = geometric(max(len(times) - 1, 2), 8.0, 0.05)[: len(times) - 1]
    score = watch(lambda x, sigma: world.score(x, 1.0, sigma))
    step = float(levels[-1]) ** 2
    return sample_annealed_langevin(score, x, levels, noise, step=step, inner=50, ops=ops)


def even(part):
    """Return times evenly apart, from 1 to near 0."""
    return FIRST + (1 - FIRST) * part


def near_zero(part):
    """Return times from 1 to near 0 that crowd there."""
    return FIRST + (1 - FIRST) * part**2


def to_zero(part):
    """Return times from 1 to 0 that crowd there."""
    return part**2


def log_levels(part):
    """Return times of VP whose λ is evenly apart, and 0 at the end."""
    total = math.log1p(math.exp(part * 10.0 + (1 - part) * -7.0))  # ∫β
    return (-0.1 + math.sqrt(0.01 + 2 * 19.9 * total)) / 19.9 if part else 0.0


def flow(rule):
    return of_path(sample_probability_flow, VP(), near_zero, draws=False, rule=rule)


VE20 = VE(0.02, 20.0)
PC = sample_predictor_corrector
ROWS = {
    "ancestral, posterior": Row(
        sample_ancestral, of_schedule(sample_ancestral), lambda n: n, 250, tolerance=0.03
    ),
    "ancestral, beta": Row(
        sample_ancestral, of_schedule(sample_ancestral, variance="beta"), lambda n: n, 250
    ),
    "ancestral, between": Row(
        sample_ancestral, of_schedule(sample_ancestral, variance="between"), lambda n: n, 250
    ),
    "ancestral, learned": Row(
        sample_ancestral_learned,
        of_schedule(sample_ancestral_learned, lambda noise_hat: (noise_hat, 0 * noise_hat + 0.3)),
        lambda n: n,
        250,
    ),
    "ddim": Row(sample_ddim, of_schedule(sample_ddim), lambda n: n, 250),
    "ddim, half": Row(sample_ddim, of_schedule(sample_ddim, eta=0.5), lambda n: n, 250),
    "ddim, ancestral": Row(
        sample_ddim, of_schedule(sample_ddim, eta=1.0), lambda n: n, 250, tolerance=0.03
    ),
    "flow, euler": Row(sample_probability_flow, flow("euler"), lambda n: n, 250),
    "flow, midpoint": Row(sample_probability_flow, flow("midpoint"), lambda n: 2 * n, 40),
    "flow, heun": Row(sample_probability_flow, flow("heun"), lambda n: 2 * n, 40),
    "flow, rk4": Row(sample_probability_flow, flow("rk4"), lambda n: 4 * n, 25),
    "dpm-solver++ 2m": Row(
        sample_dpm_solver_2m,
        of_path(sample_dpm_solver_2m, VP(), log_levels, draws=False, table=False),
        lambda n: n,
        25,
    ),
    "dpm-solver++ 2s": Row(
        sample_dpm_solver_2s,
        of_path(sample_dpm_solver_2s, VP(), log_levels, draws=False, table=False),
        lambda n: n,
        25,
        tolerance=0.04,
    ),
    "edm": Row(sample_edm, of_sigmas(0.0), lambda n: 2 * n - 1, 20, std=20.0),
    "edm, churn": Row(sample_edm, of_sigmas(10.0), lambda n: 2 * n - 1, 40, std=20.0),
    "reverse sde": Row(
        sample_reverse_sde, of_path(sample_reverse_sde, VP(), to_zero), lambda n: n, 250
    ),
    "reverse sde, half": Row(
        sample_reverse_sde, of_path(sample_reverse_sde, VP(), to_zero, eta=0.5), lambda n: n, 250
    ),
    "langevin": Row(sample_langevin, plain_langevin, lambda n: n, 400),
    "annealed langevin": Row(
        sample_annealed_langevin, annealed_langevin, lambda n: 50 * n, 12, std=8.0, tolerance=0.03
    ),
    "pc, vp": Row(PC, of_path(PC, VP(), to_zero), lambda n: 2 * n - 1, 200),
    "pc, vp, ancestral": Row(
        PC, of_path(PC, VP(), to_zero, predictor="ancestral"), lambda n: 2 * n - 1, 200
    ),
    "pc, ve": Row(PC, of_path(PC, VE20, lambda p: p), lambda n: 2 * n, 200, std=20.0),
    "pc, ve, denoised": Row(
        PC,
        of_path(PC, VE20, lambda p: p, corrections=2, denoise=True),
        lambda n: 3 * n + 1,
        200,
        std=20.0,
    ),
    "pc, edm": Row(PC, of_path(PC, EDM(20.0), lambda p: p**3), lambda n: 2 * n - 1, 200, std=20.0),
}


def unwatched(predict):
    return predict


def sampled(row, world, noise, *, count, steps=None, watch=unwatched, times=None):
    """Return what a row makes of a start from noise."""
    x = row.std * noise.at("start").normal((count, 2))
    walk = times or tuple(range(steps or row.steps, -1, -1))
    return row.run(world, x, noise.at("walk"), walk, reference, watch)


def walks(steps):
    """Return lists of that many steps: of every spacing, crowded at the data, at the noise."""
    found = [spacing(FULL, steps) for spacing in SPACINGS.values()]
    found += [times_on_schedule(linear(FULL), of(steps, 5.0, 0.05)) for of in (karras, log_uniform)]
    found += [sections(FULL, (steps - steps // 2, steps // 2))] if steps > 1 else []
    found += [(FULL, *range(steps - 1, -1, -1)), (*range(FULL, FULL - steps, -1), 0)]
    return dict.fromkeys(found)


def test_the_table_has_a_row_for_every_sampler():
    found = set()
    for module in pkgutil.iter_modules(refgen.samplers.__path__):
        page = importlib.import_module(f"refgen.samplers.{module.name}")
        for name, function in inspect.getmembers(page, inspect.isfunction):
            if name.startswith("sample_") and function.__module__ == page.__name__:
                found.add(function)
    assert found == {row.sampler for row in ROWS.values()}


@pytest.mark.parametrize("name", ROWS)
def test_a_sampler_finds_the_moments_of_a_gaussian(name):
    """Every sampler is affine here: no draw is needed to know what it returns."""
    row = ROWS[name]
    times = tuple(range(row.steps, -1, -1))
    mean, cov = moments(
        lambda x, ops: row.run(WORLD, x, Noise(0), times, ops, unwatched),
        np.zeros(2),
        row.std**2 * np.eye(2),
    )
    assert np.abs(mean - WORLD.mean).max() < row.tolerance
    assert np.abs(cov - WORLD.cov).max() < row.tolerance


@pytest.mark.parametrize("name", ROWS)
def test_what_is_drawn_has_the_moments_that_are_carried_along(name):
    """A few steps, far from the data still: draws against the affine map, within their errors."""
    row, n, steps = ROWS[name], 5000, min(ROWS[name].steps, 8)
    times = tuple(range(steps, -1, -1))
    mean, cov = moments(
        lambda x, ops: row.run(WORLD, x, Noise(0), times, ops, unwatched),
        np.zeros(2),
        row.std**2 * np.eye(2),
    )
    found, var = sampled(row, WORLD, Noise(2), count=n, steps=steps), np.diag(cov)
    assert np.all(np.abs(found.mean(0) - mean) < 4 * np.sqrt(var / n))
    assert np.all(np.abs(np.cov(found.T) - cov) < 4 * np.sqrt(2 * np.outer(var, var) / n))


@pytest.mark.parametrize("name", ROWS)
def test_a_sampler_finds_the_moments_of_a_mixture(name):
    row, n = ROWS[name], 3000
    found = sampled(row, BLOBS, Noise(1), count=n)
    mean = BLOBS.weights @ BLOBS.means
    apart = BLOBS.means - mean
    cov = (BLOBS.weights[:, None] * apart).T @ apart + BLOBS.weights @ BLOBS.var * np.eye(2)
    error = 4 * np.sqrt(cov[0, 0] / n)  # of a mean; and no less for a covariance
    assert np.abs(found.mean(0) - mean).max() < error + row.tolerance
    assert np.abs(np.cov(found.T) - cov).max() < error + row.tolerance
    near = BLOBS.responsibilities(found)[:, 0] > 0.5
    assert abs(near.mean() - 0.3) < 0.04
    for k, own in enumerate((near, ~near)):
        assert np.abs(found[own].std(0) / np.sqrt(BLOBS.var[k]) - 1).max() < 0.1


@pytest.mark.parametrize("name", ROWS)
def test_a_sampler_calls_the_network_as_often_as_its_page_says(name):
    row = ROWS[name]
    for steps in range(1, FULL + 1):
        for times in walks(steps):
            seen = []

            def watch(predict, seen=seen):
                kept, visited = trace(predict)
                seen.append(visited)
                if row.sampler is sample_langevin:
                    return lambda x: kept(x, 0)
                return kept

            sampled(row, WORLD, Noise(0), count=1, watch=watch, times=times)
            assert len(seen[0]) == row.calls(steps), times


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ROWS)
def test_a_sample_is_a_function_of_its_place_in_the_noise(name, world):
    """The same address gives the same samples, another gives others."""
    row, world = ROWS[name], WORLDS[world]
    steps = min(row.steps, 20)
    one, same, other = (
        sampled(row, world, noise, count=5, steps=steps)
        for noise in (Noise(3).at("a"), Noise(3).at("a"), Noise(3).at("b"))
    )
    assert np.array_equal(one, same)
    assert np.abs(one - other).min() > 0


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", ROWS)
def test_the_first_few_samples_are_the_first_of_many(name, world):
    row, world = ROWS[name], WORLDS[world]
    steps = min(row.steps, 20)
    many = sampled(row, world, Noise(4), count=11, steps=steps)
    for k in (1, 4):
        few = sampled(row, world, Noise(4), count=k, steps=steps)
        np.testing.assert_allclose(few, many[:k], rtol=1e-8, atol=1e-10)


def test_a_list_that_is_an_array_leaves_samples_in_their_type():
    """NumPy's float64 numbers would make float64 of x; a walk goes by Python's."""
    x, path, noise = np.ones((2, 2), np.float32), VP(), Noise(0)
    times, sigmas = np.linspace(1.0, 0.1, 4), geometric(4, 2.0, 0.1)

    def predict(x, t):
        return 0.1 * x

    found = {
        "flow": sample_probability_flow(predict, x, path, times=times),
        "2m": sample_dpm_solver_2m(predict, x, path, times=times),
        "2s": sample_dpm_solver_2s(predict, x, path, times=times),
        "sde": sample_reverse_sde(predict, x, path, noise, times=times),
        "pc": PC(predict, x, path, noise, times=times, denoise=True),
        "edm": sample_edm(predict, x, sigmas, noise, churn=1.0),
        "langevin": sample_annealed_langevin(predict, x, sigmas, noise, step=1e-3, denoise=True),
    }
    assert {name: y.dtype.name for name, y in found.items()} == dict.fromkeys(found, "float32")
