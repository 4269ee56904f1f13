"""Laws of schedules and parametrizations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen.processes import SCHEDULES, Schedule, constant, cosine, linear, quadratic, stride
from refgen.processes import parametrization as pz

pytestmark = pytest.mark.tiny
each_schedule = pytest.mark.parametrize("name", SCHEDULES)
levels = st.floats(1e-4, 1 - 1e-4)


@each_schedule
@given(T=st.integers(1, 1000))
def test_a_schedule_starts_at_the_data_and_only_loses_signal(name, T):
    schedule = SCHEDULES[name](T)
    assert schedule.T == T
    assert schedule.alpha_bar[0] == 1.0
    assert schedule.posterior_var[1] == 0.0
    assert (np.diff(schedule.alpha_bar) < 0).all()
    assert schedule.alpha_bar[-1] > 0
    assert all(
        a.dtype == np.float64 and a.shape == (T + 1,)
        for a in vars(schedule).values()
        if isinstance(a, np.ndarray)
    )


@each_schedule
def test_the_posterior_variance_is_that_of_the_conditioned_gaussian(name):
    """var(x_{t-1} | x_t, x_0) = v − c² / w for the joint covariance of (x_{t-1}, x_t)."""
    schedule = SCHEDULES[name](50)
    v = 1 - schedule.alpha_bar[:-1]  # var(x_{t-1} | x_0)
    c, w = np.sqrt(schedule.alpha[1:]) * v, 1 - schedule.alpha_bar[1:]
    np.testing.assert_allclose(schedule.posterior_var[1:], v - c * c / w, atol=1e-12)
    assert (schedule.posterior_var <= schedule.beta).all()


def test_a_schedule_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        linear(10).alpha_bar[0] = 2.0


def test_the_named_schedules_have_their_closed_forms():
    t = np.arange(1001)
    np.testing.assert_allclose(constant(1000, 0.01).alpha_bar, 0.99**t, rtol=1e-12)
    np.testing.assert_allclose(np.diff(linear(1000).beta[1:]), 0.0199 / 999, rtol=1e-9)
    np.testing.assert_allclose(np.diff(np.sqrt(quadratic(1000).beta[1:]), 2), 0, atol=1e-15)
    assert np.log(linear(1000).alpha_bar[-1]) == pytest.approx(-10.117, abs=1e-3)
    plain = cosine(1000, offset=0.0).alpha_bar
    np.testing.assert_allclose(plain[:-1], np.cos(np.pi * t[:-1] / 2000) ** 2, rtol=1e-9)
    with_offset = cosine(1000).alpha_bar
    f = np.cos(0.5 * np.pi * (t / 1000 + 0.008) / 1.008) ** 2
    np.testing.assert_allclose(with_offset[:-1], f[:-1] / f[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: cosine(100, offset=0.0, max_beta=1.0), "ᾱ becomes 0"),
        (lambda: constant(10, 0.0), "no noise is added"),
        (lambda: constant(10, 1.0), "ᾱ becomes 0"),
        (lambda: linear(10, first=0.0), r"beta\[1\] = 0"),
        (lambda: linear(10, last=float("nan")), "nan"),
        (lambda: quadratic(10, first=-1.0), "betas"),
        (lambda: cosine(10, offset=-0.1), "offset"),
        (lambda: linear(0), "T ≥ 1"),
        (lambda: Schedule("mine", np.array([0.1, 0.2])), r"beta\[0\] = 0"),
    ],
)
def test_singular_schedules_are_refused_with_the_reason(build, why):
    with pytest.raises(ValueError, match=why):
        build()


@given(T=st.integers(1, 2000), data=st.data())
def test_a_stride_visits_as_many_times_as_it_says_each_once(T, data):
    steps = data.draw(st.integers(1, T))
    times = stride(T, steps)
    assert times[0] == T
    assert times[-1] == 0
    assert len(set(times)) == steps + 1 == len(times)
    gaps = -np.diff(times)
    assert gaps.min() >= T // steps
    assert gaps.max() <= -(-T // steps)


@pytest.mark.parametrize("steps", [0, -1, 11])
def test_a_stride_that_cannot_be_is_refused(steps):
    with pytest.raises(ValueError, match=r"1 \.\. 10"):
        stride(10, steps)


@given(alpha_bar=levels, ratio=levels, seed=st.integers(0, 2**31))
def test_the_parametrizations_commute(alpha_bar, ratio, seed):
    x, noise = np.random.default_rng(seed).normal(size=(2, 5))
    data = pz.data_from_noise(x, noise, alpha_bar)
    np.testing.assert_allclose(pz.noise_from_data(x, data, alpha_bar), noise, atol=1e-9)
    np.testing.assert_allclose(
        np.sqrt(alpha_bar) * data + np.sqrt(1 - alpha_bar) * noise, x, atol=1e-10
    )
    alpha_bar_next = alpha_bar + (1 - alpha_bar) * ratio
    means = (
        pz.mean_from_data(x, data, alpha_bar, alpha_bar_next),
        pz.mean_from_noise(x, noise, alpha_bar, alpha_bar / alpha_bar_next),
    )
    np.testing.assert_allclose(*means, rtol=1e-8, atol=1e-8)


def test_clipping_the_noise_is_clipping_the_data():
    x, noise = np.array([3.0, 0.1]), np.array([-0.5, 0.2])
    clipped = pz.clip_noise(x, noise, 0.5, 1.0)
    data = pz.data_from_noise(x, clipped, 0.5)
    np.testing.assert_allclose(data, np.clip(pz.data_from_noise(x, noise, 0.5), -1, 1))
    assert data[0] == pytest.approx(1.0)
    assert clipped[1] == pytest.approx(noise[1])
