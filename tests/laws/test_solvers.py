"""DPM-Solver++ and EDM's sampler: their order, calls and last steps, in exact worlds."""

from collections import Counter

import numpy as np
import pytest

from refgen import check
from refgen.exact import Gaussian, Mixture
from refgen.noise import Noise
from refgen.processes.path import EDM, VP, CosinePath
from refgen.samplers.dpm_solver import sample_dpm_solver_2m, sample_dpm_solver_2s
from refgen.samplers.edm import sample_edm, slopes_of
from refgen.samplers.ode import solve

WORLD = Gaussian(np.array([0.5, -0.3]), np.array([[0.6, 0.2], [0.2, 0.4]]))
BLOBS = Mixture(np.array([0.3, 0.7]), np.array([[-1.0, 0.0], [1.0, 0.5]]), np.array([0.09, 0.05]))
SAMPLERS = {"2m": sample_dpm_solver_2m, "2s": sample_dpm_solver_2s}


def predictor(world, path, calls=None):
    """Return the exact noise prediction; count its calls where asked to."""

    def predict(x, t):
        if calls is not None:
            calls["network"] += 1
        a, b, _, _ = path.levels(t)
        return world.noise_mean(x, a, b)

    return predict


def uniform_in_log_snr(path, first, last, steps):
    """Return times whose λ are evenly apart: the lists that the orders are stated for."""
    fine = np.linspace(last, first, 200_001)
    a, b, _, _ = path.levels(fine)
    lam = np.log(a / b)
    return list(np.interp(np.linspace(lam[-1], lam[0], steps + 1), lam[::-1], fine[::-1]))


@pytest.mark.parametrize("world", [WORLD, BLOBS], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_dpm_solver_is_of_second_order(name, world):
    path, x = VP(), Noise(0).normal((9, 2))
    predict = predictor(world, path)
    sizes = [64, 128, 256, 512]
    exact = SAMPLERS["2s"](predict, x, path, times=uniform_in_log_snr(path, 1.0, 0.02, 8192))
    errors = []
    for steps in sizes:
        times = uniform_in_log_snr(path, 1.0, 0.02, steps)
        errors.append(np.abs(SAMPLERS[name](predict, x, path, times=times) - exact).max())
    assert check.order_of_convergence(sizes, errors) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_dpm_solver_calls_the_network_once_for_each_step_of_its_list(name):
    path = VP()
    for steps in range(1, 25):
        for last in (0.0, 0.01):
            calls = Counter()
            times = np.linspace(1.0, last, steps + 1).tolist()
            SAMPLERS[name](predictor(WORLD, path, calls), np.ones((1, 2)), path, times=times)
            assert calls["network"] == steps, (steps, last)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_is_the_estimate_of_the_data(name):
    path, x = VP(), Noise(1).normal((4, 2))
    a, b, _, _ = path.levels(1.0)
    found = SAMPLERS[name](predictor(BLOBS, path), x, path, times=[1.0, 0.0])
    np.testing.assert_allclose(found, BLOBS.data_mean(x, a, b), rtol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_single_datum_is_met_exactly_by_any_number_of_steps(name):
    """The estimate never changes, which is what (DPM.1) is exact for."""
    path, datum = VP(), np.array([[0.7, -0.2]])

    def predict(x, t):
        a, b, _, _ = path.levels(t)
        return (x - a * datum) / b

    for steps in (1, 2, 5, 8):
        found = SAMPLERS[name](predict, np.ones((1, 2)), path, times=np.linspace(1, 0, steps + 1))
        np.testing.assert_allclose(found, datum, atol=1e-12)


def test_no_pair_of_2s_ends_where_there_is_no_noise():
    """Both steps of [1, ½, 0] are of first order, DDIM's; of three the first two are a pair."""
    path, x = VP(), Noise(1).normal((4, 2))
    predict = predictor(BLOBS, path)

    def ddim(x, t, s):
        (a, b, _, _), (c, d, _, _) = path.levels(t), path.levels(s)
        noise = predict(x, t)
        return c * (x - b * noise) / a + d * noise

    two = sample_dpm_solver_2s(predict, x, path, times=[1.0, 0.5, 0.0])
    np.testing.assert_allclose(two, ddim(ddim(x, 1.0, 0.5), 0.5, 0.0), rtol=1e-10)
    pair = sample_dpm_solver_2s(predict, x, path, times=[1.0, 0.5, 0.2])
    three = sample_dpm_solver_2s(predict, x, path, times=[1.0, 0.5, 0.2, 0.0])
    np.testing.assert_allclose(three, ddim(pair, 0.2, 0.0), rtol=1e-10)
    assert np.abs(pair - ddim(ddim(x, 1.0, 0.5), 0.5, 0.2)).max() > 0.01


def test_dpm_solvers_refuse_lists_that_they_cannot_walk():
    predict, x = predictor(WORLD, VP()), np.ones((1, 2))
    for name, sampler in SAMPLERS.items():
        with pytest.raises(ValueError, match="fall"):
            sampler(predict, x, VP(), times=[0.0, 1.0])
        with pytest.raises(ValueError, match="start where a > 0"):
            sampler(predict, x, CosinePath(), times=[1.0 + 1e-9, 0.5]), name


# EDM.


def denoiser(world, calls=None):
    """Return the exact data estimate at signal 1."""

    def denoise(x, sigma):
        if calls is not None:
            calls["network"] += 1
        return world.data_mean(x, 1.0, sigma)

    return denoise


def ladder(first, last, steps, rho=7.0):
    """Return the list of noise levels of the paper's equation 5, without the 0 at its end."""
    ends = np.array([first, last]) ** (1 / rho)
    return (ends[0] + np.linspace(0, 1, steps + 1) * (ends[1] - ends[0])) ** rho


@pytest.mark.parametrize("world", [WORLD, BLOBS], ids=["gaussian", "mixture"])
def test_edm_without_churn_is_of_second_order(world):
    x, sizes = 10.0 * Noise(2).normal((9, 2)), [64, 128, 256]
    exact = solve(slopes_of(denoiser(world)), x, ladder(10.0, 0.05, 2000), rule="rk4")
    found = [sample_edm(denoiser(world), x, ladder(10.0, 0.05, n), Noise(3)) for n in sizes]
    errors = [np.abs(y - exact).max() for y in found]
    assert check.order_of_convergence(sizes, errors) == pytest.approx(2, abs=0.1)


def test_edm_without_churn_is_heuns_rule_and_draws_nothing():
    x, sigmas = 5.0 * Noise(4).normal((6, 2)), ladder(5.0, 0.1, 12)
    found = sample_edm(denoiser(BLOBS), x, sigmas, Noise(5))
    np.testing.assert_allclose(
        found, solve(slopes_of(denoiser(BLOBS)), x, sigmas, rule="heun"), rtol=1e-12
    )
    assert np.array_equal(found, sample_edm(denoiser(BLOBS), x, sigmas, Noise(6)))


def test_edm_calls_the_network_twice_a_step_and_once_into_zero():
    for steps in range(1, 20):
        for end, missing in ((0.05, 0), (0.0, 1)):
            calls = Counter()
            sigmas = [*ladder(8.0, 0.05, steps)[:-1], end]
            sample_edm(denoiser(WORLD, calls), np.ones((1, 2)), sigmas, Noise(0), churn=3.0)
            assert calls["network"] == 2 * steps - missing


def test_churn_keeps_the_distribution():
    """What is forgotten was right: mean and variance of a Gaussian stay, for any churn."""
    path = EDM(12.0)
    x = WORLD.sample(40_000, Noise(9)) + path.last * Noise(7).normal((40_000, 2))
    sigmas = [*ladder(path.last, 0.02, 60), 0.0]
    for churn in (0.0, 10.0, 30.0):
        drawn = sample_edm(denoiser(WORLD), x, sigmas, Noise(8), churn=churn)
        spread = np.cov(drawn.T)
        assert np.abs(drawn.mean(0) - WORLD.mean).max() < 0.02
        assert np.abs(spread - WORLD.cov).max() < 0.025
    without = [sample_edm(denoiser(WORLD), x[:9], sigmas, Noise(s), churn=30.0) for s in (8, 9)]
    assert np.abs(without[0] - without[1]).max() > 0.1


def test_edm_refuses_what_it_cannot_walk():
    x = np.ones((1, 2))
    with pytest.raises(ValueError, match="churn"):
        sample_edm(denoiser(WORLD), x, [1.0, 0.0], Noise(0), churn=-1.0)
    for sigmas in ([1.0], [0.5, 1.0], [1.0, -0.1]):
        with pytest.raises(ValueError, match="noise levels fall"):
            sample_edm(denoiser(WORLD), x, sigmas, Noise(0))
