"""Laws of the samplers in a world where the denoiser, the flow and every moment are known."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check
from refgen.noise import Noise
from refgen.processes import constant, cosine, linear, stride
from refgen.samplers import sample_ancestral, sample_ddim

pytestmark = pytest.mark.tiny
MEAN, STD = 0.7, 0.5


def gaussian_noise(schedule, mean=MEAN, std=STD):
    """Return E[noise | x_t] when the data are N(mean, std²)."""

    def predict(x, t):
        ab = schedule.alpha_bar[t]
        return np.sqrt(1 - ab) * (x - np.sqrt(ab) * mean) / (ab * std**2 + 1 - ab)

    return predict


def moments(schedule, times, variance):
    """Propagate mean and variance of x through the ancestral steps, which are affine."""
    m, v = 0.0, 1.0
    for t, s in pairwise(times):
        ab, abn = schedule.alpha_bar[t], schedule.alpha_bar[s]
        alpha = ab / abn
        slope = np.sqrt(1 - ab) / (ab * STD**2 + 1 - ab)
        gain = (1 - (1 - alpha) / np.sqrt(1 - ab) * slope) / np.sqrt(alpha)
        shift = (1 - alpha) / np.sqrt(1 - ab) * slope * np.sqrt(ab) * MEAN / np.sqrt(alpha)
        added = (1 - alpha) * ((1 - abn) / (1 - ab) if variance == "posterior" else 1)
        m, v = gain * m + shift, gain**2 * v + (added if s > 0 else 0)
    return m, v


@pytest.mark.parametrize("variance", ["beta", "posterior"])
@pytest.mark.parametrize("steps", [1, 7, 200])
def test_ancestral_sampling_has_the_moments_of_its_affine_steps(variance, steps):
    """Draws against exact propagation: a wrong coefficient or variance is many errors away."""
    schedule, n = linear(200, 5e-4, 0.1), 100_000
    times = stride(200, steps)
    x = sample_ancestral(
        gaussian_noise(schedule),
        Noise(1).normal((n, 1)),
        schedule,
        Noise(2),
        times=times,
        variance=variance,
    )
    m, v = moments(schedule, times, variance)
    assert abs(x.mean() - m) < 4 * np.sqrt(v / n) + 1e-12
    assert abs(x.var() / v - 1) < 4 * np.sqrt(2 / n) + 1e-12


@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_ancestral_sampling_reaches_the_data_as_steps_grow(variance):
    """The error of the final variance falls like 1/T at a fixed total amount of noise."""
    errors, sizes = [], [250, 500, 1000, 2000]
    for T in sizes:
        schedule = linear(T, 0.1 / T, 20 / T)
        errors.append(abs(moments(schedule, range(T, -1, -1), variance)[1] - STD**2))
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)


def test_a_stride_with_the_single_step_alpha_would_miss_the_data():
    """What the ratio (AS.2) is for: α_t of one step, on a stride of five, is far off."""
    schedule = linear(1000)
    times = stride(1000, 200)
    _, right = moments(schedule, times, "posterior")
    v = 1.0
    for t, s in pairwise(times):
        ab, alpha = schedule.alpha_bar[t], schedule.alpha[t]
        slope = np.sqrt(1 - ab) / (ab * STD**2 + 1 - ab)
        gain = (1 - (1 - alpha) / np.sqrt(1 - ab) * slope) / np.sqrt(alpha)
        v = gain**2 * v + (schedule.posterior_var[t] if s > 0 else 0)
    assert abs(right - STD**2) < 0.02
    assert abs(v - STD**2) > 0.1


def test_ddim_follows_the_flow_that_maps_noise_to_data():
    """For Gaussian data the flow is x ↦ mean + std x; DDIM meets it at first order in 1/steps."""
    x = np.linspace(-2, 2, 9)[:, None]
    errors, sizes = [], [125, 250, 500, 1000]
    for T in sizes:
        schedule = linear(T, 0.1 / T, 20 / T)
        ab = schedule.alpha_bar[-1]
        scale = STD / np.sqrt(ab * STD**2 + 1 - ab)  # x_T is not quite pure noise
        exact = MEAN + scale * (x - np.sqrt(ab) * MEAN)
        out = sample_ddim(gaussian_noise(schedule), x, schedule, Noise(0))
        errors.append(np.abs(out - exact).max())
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)


def test_ddim_is_eulers_rule_in_the_noise_to_signal_ratio():
    schedule = cosine(50)
    predict, x = gaussian_noise(schedule), np.linspace(-2, 2, 9)[:, None]
    times = stride(50, 10)
    ratio = np.sqrt(1 / schedule.alpha_bar - 1)
    y = x / np.sqrt(schedule.alpha_bar[50])
    for t, s in pairwise(times):
        y = y + (ratio[s] - ratio[t]) * predict(np.sqrt(schedule.alpha_bar[t]) * y, t)
    out = sample_ddim(predict, x, schedule, Noise(0), times=times)
    np.testing.assert_allclose(out, y, rtol=1e-10)


def test_ddim_at_eta_1_is_ancestral_sampling_with_the_posterior_variance():
    schedule, x = cosine(40), Noise(3).normal((50, 2))
    predict, times = gaussian_noise(schedule), stride(40, 13)
    ddim = sample_ddim(predict, x, schedule, Noise(4), times=times, eta=1.0)
    ancestral = sample_ancestral(predict, x, schedule, Noise(4), times=times)
    np.testing.assert_allclose(ddim, ancestral, rtol=1e-8)


def test_ddim_at_eta_1_leaves_pure_noise_although_its_root_rounds_below_zero():
    """With ᾱ_T = 3e-18 the root's argument is 1e-18 or less, lost in the rounding of 1 − ᾱ_s."""
    schedule, x = constant(2000, 0.02), Noise(3).normal((50, 2))
    for s in range(1, 200):
        ddim = sample_ddim(
            gaussian_noise(schedule), x, schedule, Noise(4), times=(2000, s, 0), eta=1.0
        )
        ancestral = sample_ancestral(
            gaussian_noise(schedule), x, schedule, Noise(4), times=(2000, s, 0)
        )
        np.testing.assert_allclose(ddim, ancestral, rtol=0, atol=1e-6)


def test_ddim_at_eta_0_draws_nothing():
    schedule, x = cosine(10), Noise(3).normal((5, 2))
    a, b = (sample_ddim(gaussian_noise(schedule), x, schedule, Noise(s)) for s in (1, 2))
    assert np.array_equal(a, b)


def test_ancestral_sampling_draws_nothing_at_its_last_step():
    schedule, x = constant(1, 0.5), np.ones((3, 1))
    for variance in ("beta", "posterior"):
        a, b = (
            sample_ancestral(gaussian_noise(schedule), x, schedule, Noise(s), variance=variance)
            for s in (1, 2)
        )
        assert np.array_equal(a, b)


@given(data=st.data())
def test_a_sampler_calls_the_network_once_a_step(data):
    schedule = linear(30)
    steps = data.draw(st.integers(1, 30))
    for sample in (sample_ancestral, sample_ddim):
        calls = []

        def predict(x, t, calls=calls):
            calls.append(t)
            return 0 * x

        sample(predict, np.ones((1, 1)), schedule, Noise(0), times=stride(30, steps))
        assert calls == list(stride(30, steps)[:-1])


def test_a_clipped_sampler_never_leaves_the_range_of_the_data():
    schedule = cosine(20)
    for sample in (sample_ancestral, sample_ddim):
        x = sample(lambda x, t: 0.1 * x, 50 * np.ones((4, 2)), schedule, Noise(0), clip=1.0)
        assert np.abs(x).max() <= 1 + 1e-12


def test_bad_walks_are_refused():
    schedule, x = linear(10), np.ones((1, 1))
    predict = gaussian_noise(schedule)
    for times in ([10, 5], [9, 0], [10, 5, 5, 0], [0, 10], [10]):
        with pytest.raises(ValueError, match="fall strictly from T = 10 to 0"):
            sample_ddim(predict, x, schedule, Noise(0), times=times)
    with pytest.raises(ValueError, match="beta, posterior"):
        sample_ancestral(predict, x, schedule, Noise(0), variance="small")
    with pytest.raises(ValueError, match="eta"):
        sample_ddim(predict, x, schedule, Noise(0), eta=1.5)
