"""The reverse SDE in exact worlds, and what every walk with noise is asked and refused."""

from itertools import pairwise

import numpy as np
import pytest

from refgen import check
from refgen import ops as reference
from refgen.noise import Noise
from refgen.processes.path import VP, CosinePath
from refgen.samplers.langevin import sample_annealed_langevin, sample_langevin
from refgen.samplers.ode import solve
from refgen.samplers.predictor_corrector import sample_predictor_corrector
from refgen.samplers.probability_flow import ProbabilityFlow
from refgen.samplers.sde import sample_reverse_sde
from tests.laws.affine import Tape, moments, off
from tests.laws.paths import BLOBS, ENDS, PATHS, WORLD, marginal, noise_of


@pytest.mark.parametrize("eta", [0.5, 1.0, 1.4])
@pytest.mark.parametrize("name", PATHS)
def test_the_moments_of_the_reverse_sde_are_right_to_first_order(name, eta):
    """For any eta: a noise that the drift does not balance leaves an error that stays."""
    path, (start, end), sizes = PATHS[name], ENDS[name], [128, 256, 512]
    predict, errors = noise_of(WORLD, path), []
    for n in sizes:
        times = np.linspace(start, end, n + 1)
        found = moments(
            lambda x, ops, times=times: sample_reverse_sde(
                predict, x, path, Noise(0), times=times, eta=eta, ops=ops
            ),
            *marginal(WORLD, path, start),
        )
        errors.append(off(found, WORLD, *path.levels(end)[:2]))
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)


def carried(density, grid, path, times, eta):
    """Return the density after the walk, by the rule of trapezia: every step is m(x) + √v z."""
    predict, gap = noise_of(BLOBS, path), grid[1] - grid[0]
    for pair in pairwise(times):

        def step(x, ops, pair=pair):
            return sample_reverse_sde(predict, x, path, Noise(0), times=pair, eta=eta, ops=ops)

        rows = np.concatenate([np.zeros((3, 1)), grid[:, None]])
        ends = step(rows, Tape(1))  # row 2 is 0 with noise 1
        var, mean = (ends[2, 0] - ends[0, 0]) ** 2, ends[3:, 0]
        kernel = np.exp(-0.5 * (grid[:, None] - mean) ** 2 / var) / np.sqrt(2 * np.pi * var)
        density = kernel @ density * gap
    return density


@pytest.mark.parametrize("eta", [0.7, 1.0])
def test_the_density_of_a_mixture_is_carried_to_first_order(eta):
    """Not its moments alone: the distance of all of the density, with no draw."""
    path, end, grid, errors, sizes = VP(), 0.1, np.linspace(-5, 5, 500), [], [32, 64, 128]

    def exact(t):
        a, b, _, _ = path.levels(t)
        return np.exp(BLOBS.log_density(grid[:, None], a, b))

    for n in sizes:
        found = carried(exact(1.0), grid, path, np.linspace(1.0, end, n + 1), eta)
        errors.append(np.sum(np.abs(found - exact(end))) * (grid[1] - grid[0]))
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", PATHS)
def test_the_reverse_sde_without_noise_is_eulers_rule_on_the_flow(name):
    path, x, times = PATHS[name], Noise(1).normal((6, 1)), np.linspace(*ENDS[name], 12)
    predict = noise_of(BLOBS, path)
    found = sample_reverse_sde(predict, x, path, Noise(2), times=times, eta=0.0)
    euler = solve(ProbabilityFlow(path, predict), x, times, rule="euler")
    np.testing.assert_allclose(found, euler, rtol=1e-9)
    table = Tape(1)
    sample_reverse_sde(predict, x, path, Noise(2), times=times, eta=0.0, ops=table)
    assert not table.streams


@pytest.mark.parametrize("eta", [1.0, 0.5])
def test_the_step_is_that_of_the_reverse_sde(eta):
    """X − h (f x − ½ (1 + η²) g² score) + η g √h z, written out for VP: f = −½ β and g² = β."""
    path, x, t, s = VP(), Noise(4).normal((5, 1)), 0.7, 0.65
    a, b, _, _ = path.levels(t)
    score, beta, h = BLOBS.score(x, a, b), path.beta(t), t - s
    z = Noise(5).at("step", 0).normal(x.shape)
    drift = -0.5 * beta * x - 0.5 * (1 + eta**2) * beta * score
    expected = x - h * drift + eta * np.sqrt(beta * h) * z
    found = sample_reverse_sde(noise_of(BLOBS, path), x, path, Noise(5), times=[t, s], eta=eta)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_into_no_noise_nothing_is_drawn():
    path, x = VP(), Noise(4).normal((5, 1))
    predict = noise_of(BLOBS, path)
    last, before = (
        [sample_reverse_sde(predict, x, path, Noise(s), times=[0.1, end]) for s in (1, 2)]
        for end in (0.0, 0.01)
    )
    assert np.array_equal(*last)
    assert np.abs(before[0] - before[1]).max() > 0.01
    a, b, _, _ = path.levels(0.1)
    f, h = -0.5 * path.beta(0.1), 0.1
    expected = x - h * (f * x - path.beta(0.1) * BLOBS.score(x, a, b))
    np.testing.assert_allclose(last[0], expected, rtol=1e-10)


# All walks with noise.


def test_a_walk_draws_through_the_table_it_is_given():
    """What a backend would be asked for, and no page of the reference beside it."""

    class Counting:
        def __init__(self):
            self.asked = []

        def __getattr__(self, name):
            self.asked.append(name)
            return getattr(reference, name)

    x, path = np.ones((2, 2), np.float32), VP()
    predict = noise_of(WORLD, path)

    def single(x, t):
        return predict(x, t).astype(np.float32)

    for sample in (
        lambda ops: sample_langevin(lambda x: -x, x, Noise(0), step=0.1, steps=2, ops=ops),
        lambda ops: sample_annealed_langevin(
            lambda x, s: -x, x, [1.0], Noise(0), step=0.1, inner=2, ops=ops
        ),
        lambda ops: sample_reverse_sde(single, x, path, Noise(0), times=[1.0, 0.5, 0.1], ops=ops),
        lambda ops: sample_predictor_corrector(
            single, x, path, Noise(0), times=[1.0, 0.5], ops=ops
        ),
    ):
        table = Counting()
        found = sample(table)
        assert table.asked.count("langevin_step_drawn") == 2
        assert found.dtype == np.float32


def test_what_cannot_be_walked_is_refused():
    x, path = np.ones((1, 2)), VP()
    predict = noise_of(WORLD, path)
    for sampler in (sample_reverse_sde, sample_predictor_corrector):
        for times in ([1.0], [0.0, 1.0], [1.0, 1.0]):
            with pytest.raises(ValueError, match="sampling times fall"):
                sampler(predict, x, path, Noise(0), times=times)
        for wrong, start in ((CosinePath(), 1.0), (path, 0.0)):
            with pytest.raises(ValueError, match="start where"):
                sampler(predict, x, wrong, Noise(0), times=[start, start - 0.5])
    with pytest.raises(ValueError, match="b = 0 at the last"):
        sample_predictor_corrector(predict, x, path, Noise(0), times=[0.5, 0.0, -0.1])
    with pytest.raises(ValueError, match="eta is 0 or more"):
        sample_reverse_sde(predict, x, path, Noise(0), times=[1.0, 0.5], eta=-1.0)
    for word in ("predictor", "norms"):
        with pytest.raises(ValueError, match=f"unknown {word} 'other'"):
            sample_predictor_corrector(
                predict, x, path, Noise(0), times=[1.0, 0.5], **{word: "other"}
            )
    with pytest.raises(ValueError, match="corrections"):
        sample_predictor_corrector(predict, x, path, Noise(0), times=[1.0, 0.5], corrections=-1)
    for sigmas in ([], [0.5, 1.0], [1.0, 0.0]):
        with pytest.raises(ValueError, match="noise levels fall"):
            sample_annealed_langevin(lambda x, s: -x, x, sigmas, Noise(0), step=0.1)
    with pytest.raises(ValueError, match="0 or more"):
        sample_langevin(lambda x: -x, x, Noise(0), step=-0.1, steps=1)
