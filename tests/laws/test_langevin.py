"""Langevin's walks, plain and annealed, in exact worlds."""

import numpy as np
import pytest

from refgen import check
from refgen.exact import Gaussian, Mixture
from refgen.noise import Noise
from refgen.processes.schedule import geometric
from refgen.samplers.langevin import sample_annealed_langevin, sample_langevin, stationary_variance
from tests.laws.affine import moments
from tests.laws.paths import BLOBS, WORLD


@pytest.mark.parametrize("step", [0.05, 0.2, 0.45])
def test_plain_langevin_ends_at_its_stationary_variance(step):
    """s² / (1 − ε/2s²) in every direction: a factor 2 at the drift or the noise is far off."""
    found = moments(
        lambda x, ops: sample_langevin(
            WORLD.score, x, Noise(0), step=step, steps=int(40 / step), ops=ops
        ),
        np.array([5.0, 5.0]),
        np.eye(2),
    )
    values, vectors = np.linalg.eigh(WORLD.cov)
    ends = [stationary_variance(v, step) for v in values]
    np.testing.assert_allclose(found[0], WORLD.mean, atol=1e-8)
    np.testing.assert_allclose(found[1], vectors * ends @ vectors.T, atol=1e-8)


def test_plain_langevin_errs_by_the_order_of_its_step_and_leaves_from_twice_the_variance_on():
    steps = np.array([0.4, 0.2, 0.1, 0.05, 0.025])
    errors = [stationary_variance(2.0, e) - 2.0 for e in steps]
    assert check.order_of_convergence(1 / steps, errors) == pytest.approx(1, abs=0.1)
    assert np.isinf(stationary_variance(0.5, 1.0))
    unit = Gaussian(np.zeros(1), np.eye(1))
    for step, goes in ((1.9, False), (2.1, True)):
        assert np.isinf(stationary_variance(1.0, step)) == goes
        _, cov = moments(
            lambda x, ops, step=step: sample_langevin(
                unit.score, x, Noise(0), step=step, steps=300, ops=ops
            ),
            np.zeros(1),
            np.eye(1),
        )
        assert (cov[0, 0] > 1e6) == goes


def test_small_steps_alone_do_not_sample():
    """With ε = 1/K² and K steps nothing is forgotten: K ε must grow as well."""
    unit, K = Gaussian(np.zeros(1), np.array([[0.5]])), 300
    for step, var in ((1 / K**2, 3.0), (5 / K, 0.5)):
        _, cov = moments(
            lambda x, ops, step=step: sample_langevin(
                unit.score, x, Noise(0), step=step, steps=K, ops=ops
            ),
            np.zeros(1),
            3.0 * np.eye(1),
        )
        assert cov[0, 0] == pytest.approx(var, abs=0.05)


def test_annealed_langevin_is_algorithm_1():
    """Its lines as they are printed, draw by draw."""
    sigmas, eps, T, x = [4.0, 2.0, 1.0], 0.3, 4, Noise(1).normal((5, 1))
    found = sample_annealed_langevin(
        lambda x, sigma: BLOBS.score(x, 1.0, sigma), x, sigmas, Noise(2), step=eps, inner=T
    )
    for i in range(len(sigmas)):
        alpha = eps * sigmas[i] ** 2 / sigmas[-1] ** 2
        for t in range(T):
            z = Noise(2).at("level", i, "step", t).normal(x.shape)
            x = x + alpha / 2 * BLOBS.score(x, 1.0, sigmas[i]) + np.sqrt(alpha) * z
    np.testing.assert_allclose(found, x, rtol=1e-10)


def test_annealed_langevin_ends_at_the_stationary_variance_of_its_last_level():
    """With ε = ϵ/2 there: data of variance v with noise of σ_L², and the bias of the step."""
    sigmas, eps = geometric(6, 8.0, 0.5), 0.2
    world = Gaussian(np.array([0.7]), np.array([[0.6]]))
    found = moments(
        lambda x, ops: sample_annealed_langevin(
            lambda x, sigma: world.score(x, 1.0, sigma), x, sigmas, Noise(0), step=eps, ops=ops
        ),
        np.array([20.0]),
        np.eye(1),
    )
    assert found[0][0] == pytest.approx(0.7, abs=1e-4)
    assert found[1][0, 0] == pytest.approx(stationary_variance(0.6 + 0.25, eps / 2), abs=1e-4)


def test_at_every_level_drift_and_noise_keep_their_ratio():
    """A single datum is approached alike at all levels: after T steps each, x/σ is the same."""
    eps, T, spreads = 0.4, 200, []
    for sigma in (5.0, 1.0, 0.2):
        _, cov = moments(
            lambda x, ops, sigma=sigma: sample_annealed_langevin(
                lambda x, s: -x / s**2, x, [sigma], Noise(0), step=eps * sigma**2, inner=T, ops=ops
            ),
            np.zeros(1),
            np.zeros((1, 1)),
        )
        spreads.append(cov[0, 0] / sigma**2)
    np.testing.assert_allclose(spreads, 1 / (1 - eps / 4), rtol=1e-9)


def test_the_last_line_of_annealed_langevin_is_the_mean_of_the_data():
    x, sigmas = Noise(1).normal((5, 1)), [2.0, 0.5]

    def score(x, sigma):
        return BLOBS.score(x, 1.0, sigma)

    noisy, clean = (
        sample_annealed_langevin(score, x, sigmas, Noise(3), step=0.1, inner=3, denoise=d)
        for d in (False, True)
    )
    np.testing.assert_allclose(clean, BLOBS.data_mean(noisy, 1.0, 0.5), rtol=1e-10)


def test_annealing_recovers_the_weights_that_plain_langevin_misses():
    """Two modes ten standard deviations apart, weights 1/5 and 4/5; both walks take 1000 steps."""
    modes = Mixture(np.array([0.2, 0.8]), np.array([[-5.0, -5.0], [5.0, 5.0]]), np.ones(2))
    n = 2000
    x = 16 * Noise(1).uniform((n, 2)) - 8
    plain = sample_langevin(modes.score, x, Noise(2), step=0.05, steps=1000)
    annealed = sample_annealed_langevin(
        lambda x, sigma: modes.score(x, 1.0, sigma),
        x,
        geometric(10, 20.0, 1.0),
        Noise(3),
        step=0.1,
        inner=100,
    )
    first = [float(np.mean(found @ np.ones(2) < 0)) for found in (plain, annealed)]
    assert abs(first[0] - 0.2) > 0.2
    assert abs(first[1] - 0.2) < 0.05
    for found, var in ((plain, 1.0), (annealed, 2.0)):  # the modes themselves are found by both
        right = found[found @ np.ones(2) > 0]
        assert np.abs(right.mean(0) - 5.0).max() < 0.15
        assert np.abs(right.var(0) / stationary_variance(var, 0.05) - 1).max() < 0.2
