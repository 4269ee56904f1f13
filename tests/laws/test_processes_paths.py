"""Laws of paths: rates, the SDE, what stays and what is left at the end, and the discrete chain."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import bisect

from refgen import check
from refgen.processes.discrete import (
    DiscretePath,
    discretized,
    of_noise_levels,
    of_path,
    of_schedule,
    posterior,
    transition,
)
from refgen.processes.learned import LearnedSNR
from refgen.processes.path import (
    EDM,
    PATHS,
    VE,
    VP,
    CosinePath,
    SigmoidPath,
    SubVP,
    log_snr,
    sde,
    time_of,
)
from refgen.processes.schedule import SCHEDULES, cosine, geometric, linear, sigmoid

pytestmark = pytest.mark.tiny
ALL = {**PATHS, "vp from 0": VP(0.0, 12.0), "constant": VP(4.0, 4.0), "learned": LearnedSNR()}
each_path = pytest.mark.parametrize("path", ALL.values(), ids=ALL)
INSIDE = np.linspace(0.03, 0.97, 41)


def relative(value, truth):
    return np.max(np.abs(value - truth) / (np.abs(truth) + 1e-3))


# Rates and the SDE


@each_path
def test_the_rates_are_the_derivatives_of_the_levels(path):
    levels = path.levels(INSIDE)
    for level, rate in ((0, 2), (1, 3)):
        slope = check.complex_step(
            lambda t, level=level: path.levels(t)[level] + 0j * t, [INSIDE], [np.ones_like(INSIDE)]
        )
        assert relative(levels[rate], slope) < 1e-12


@each_path
def test_levels_of_many_times_are_the_levels_of_each(path):
    together = path.levels(INSIDE[:3])
    for i in range(3):
        alone = path.levels(float(INSIDE[i]))
        np.testing.assert_allclose([float(x) for x in alone], [x[i] for x in together], rtol=1e-14)


def moments_of_the_sde(path, start, end, mean, var, steps=4000):
    """Follow m' = f m and v' = 2 f v + g² by Runge and Kutta's rule, evenly in t² from the data."""
    roots = np.linspace(math.sqrt(start), math.sqrt(end), steps + 1)

    def slope(root, m, v):
        f, g2 = (float(part) * 2 * root for part in sde(path, root * root))
        return f * m, 2 * f * v + g2

    for r, s in pairwise(roots):
        h = s - r
        k1 = slope(r, mean, var)
        k2 = slope(r + h / 2, mean + h / 2 * k1[0], var + h / 2 * k1[1])
        k3 = slope(r + h / 2, mean + h / 2 * k2[0], var + h / 2 * k2[1])
        k4 = slope(s, mean + h * k3[0], var + h * k3[1])
        mean += h / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
        var += h / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
    return mean, var


@each_path
def test_the_sde_carries_the_moments_of_any_data_along_the_path(path):
    """From t = 0 itself, where some rates are infinite: mean a m, variance a² s² + b²."""
    end, (m, s2) = 0.9, (0.7, 0.25)
    a0, b0, _, _ = path.levels(0.0)
    a, b, _, _ = path.levels(end)
    found = moments_of_the_sde(path, 0.0, end, a0 * m, a0**2 * s2 + b0**2)
    np.testing.assert_allclose(found, (a * m, a * a * s2 + b * b), rtol=1e-7)


def test_the_sdes_are_those_of_the_literature():
    t = INSIDE
    beta, total = 0.1 + 19.9 * t, 0.1 * t + 9.95 * t * t
    known = {
        VP(): (-0.5 * beta, beta),
        SubVP(): (-0.5 * beta, beta * (1 - np.exp(-2 * total))),
        VE(): (0 * t, 2 * math.log(5000) * (0.01 * 5000**t) ** 2),
        EDM(): (0 * t, 2 * 80**2 * t),
        CosinePath(): (-0.5 * np.pi * np.tan(0.5 * np.pi * t), np.pi * np.tan(0.5 * np.pi * t)),
    }
    for path, (f, g2) in known.items():
        found = sde(path, t)
        assert relative(found[0], f) < 1e-12, path
        assert relative(found[1], g2) < 1e-12, path


@each_path
def test_noise_only_grows_and_its_rate_is_never_negative(path):
    """The information, λ, only falls: g² = −b² λ' > 0."""
    t = np.linspace(0, 1, 101)
    assert (np.diff(log_snr(path, t)) < 0).all()
    assert (np.asarray(sde(path, t[1:-1])[1]) > 0).all()


def test_data_of_variance_1_keep_it_where_variance_is_preserved():
    for name in ("vp", "cosine", "cosine-offset", "sigmoid", "learned", "vp from 0"):
        a, b, da, db = ALL[name].levels(np.linspace(0, 1, 101)[1:-1])
        np.testing.assert_allclose(a * a + b * b, 1, rtol=1e-14)
        np.testing.assert_allclose(a * da + b * db, 0, atol=1e-12)
        f, g2 = sde(ALL[name], INSIDE)
        np.testing.assert_allclose(2 * f * 1.0 + g2, 0, atol=1e-9)  # v' at v = 1


def test_what_is_left_at_the_end():
    a, b, _, _ = VP().levels(1.0)
    assert math.log(a * a) == pytest.approx(-10.05, abs=1e-12)  # −∫β
    assert b * b == pytest.approx(1 - math.exp(-10.05), abs=1e-15)
    a, b, _, _ = VE().levels(1.0)
    assert (a, b) == (1.0, pytest.approx(50.0))
    assert EDM().levels(1.0)[:2] == (1.0, 80.0)
    for path in (CosinePath(), CosinePath(0.008), SigmoidPath()):
        assert path.levels(1.0)[:2] == (0.0, 1.0)


def test_sub_vp_has_less_noise_than_vp_and_the_same_signal():
    t = np.linspace(0, 1, 401)[1:]
    for first, last in ((0.1, 20.0), (0.0, 3.0), (2.0, 2.0)):
        vp, sub = VP(first, last).levels(t), SubVP(first, last).levels(t)
        np.testing.assert_array_equal(sub.a, vp.a)
        assert (sub.b < vp.b).all()
        np.testing.assert_allclose(sub.b, vp.b**2, rtol=1e-12)


# The ends


def test_the_data_end_has_no_noise_but_on_ve():
    for path in ALL.values():
        a, b, _, _ = path.levels(0.0)
        if isinstance(path, VE | LearnedSNR):
            assert b > 0
        else:
            assert (a, b) == (1.0, 0.0)
            assert log_snr(path, 0.0) == math.inf


def test_noise_that_starts_like_a_root_has_an_infinite_rate_and_a_finite_diffusion():
    for path, limit in (
        (VP(), 0.1),
        (CosinePath(0.008), sde(CosinePath(0.008), 1e-9)[1]),
        (SigmoidPath(), sde(SigmoidPath(), 1e-9)[1]),
    ):
        assert path.levels(0.0).db == math.inf
        f, g2 = sde(path, 0.0)
        assert g2 == pytest.approx(limit, rel=1e-6)
        assert f == pytest.approx(-limit / 2, rel=1e-6)
    assert VP(0.0, 12.0).levels(0.0).db == pytest.approx(VP(0.0, 12.0).levels(1e-9).db)
    assert CosinePath().levels(0.0).db == pytest.approx(math.pi / 2)


def test_where_no_signal_is_left_the_drift_is_infinite():
    for path in (CosinePath(), CosinePath(0.1), SigmoidPath()):
        assert sde(path, 1.0) == (-math.inf, math.inf)
        assert log_snr(path, 1.0) == -math.inf


# The inverse


@each_path
def test_a_path_knows_the_time_of_a_log_snr(path):
    t = np.concatenate([[1e-3], INSIDE, [1 - 1e-3]])
    np.testing.assert_allclose(time_of(path, log_snr(path, t)), t, rtol=1e-12)
    for end in (0.0, 1.0):
        assert time_of(path, log_snr(path, end)) == pytest.approx(end, abs=1e-12)


@each_path
def test_the_closed_inverse_is_what_bisection_finds(path):
    for wanted in (-3.0, 0.0, 2.5):
        found = bisect(lambda t, wanted=wanted: log_snr(path, t) - wanted, 1e-9, 1.0, xtol=1e-15)
        assert time_of(path, wanted) == pytest.approx(found, rel=1e-12)


def test_rounding_beyond_an_end_is_that_end():
    for path in (VE(), VP(), LearnedSNR()):
        assert time_of(path, log_snr(path, 1.0) - 1e-10) == 1.0
    assert time_of(VE(), log_snr(VE(), 0.0) + 1e-10) == 0.0


def test_a_log_snr_that_is_not_on_the_path_is_refused():
    with pytest.raises(ValueError, match=r"nowhere -20"):
        time_of(VP(), -20.0)
    with pytest.raises(ValueError, match=r"falls from 9.21034 to -7.82405"):
        time_of(VE(), np.array([0.0, math.inf]))
    with pytest.raises(ValueError, match="nowhere nan"):
        time_of(VP(), math.nan)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: VP(2.0, 1.0), "first ≤ last"),
        (lambda: SubVP(0.0, 0.0), "last > 0"),
        (lambda: VE(0.0, 1.0), "0 < first < last"),
        (lambda: EDM(0.0), "positive"),
        (lambda: CosinePath(1.0), r"\[0, 1\)"),
        (lambda: SigmoidPath(1.0, 1.0), "first < last"),
        (lambda: LearnedSNR(1.0, -1.0), "first < last"),
    ],
)
def test_paths_that_cannot_be_are_refused(build, why):
    with pytest.raises(ValueError, match=why):
        build()


# The chain


def test_the_discrete_chain_tends_to_vp_as_its_steps_do():
    """Ho's β_t = β(t/T)/T against exp(−∫β): the error of log ᾱ_T falls as 1/T."""
    path, sizes, errors = VP(), [250, 500, 1000, 2000], []
    for T in sizes:
        beta = path.beta(np.arange(1, T + 1) / T) / T
        chain = linear(T, float(beta[0]), float(beta[-1]))
        exact = np.log(path.levels(np.arange(T + 1) / T).a) * 2
        errors.append(np.abs(np.log(chain.alpha_bar) - exact).max())
        # in the mean over the step the exact chain has the same β, up to O(1/T²)
        own = discretized(path, T)
        assert np.abs(own.beta[1:] - beta).max() < 500 / T**2
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)


def test_a_path_in_steps_is_the_schedule_of_its_name():
    T = 60
    for path, schedule in (
        (CosinePath(), cosine(T, 0.0, 1 - 1e-15)),
        (CosinePath(0.008), cosine(T, 0.008, 1 - 1e-15)),
        (SigmoidPath(), sigmoid(T, max_beta=1 - 1e-15)),
        (SigmoidPath(-2.0, 5.0), sigmoid(T, -2.0, 5.0, max_beta=1 - 1e-15)),
    ):
        steps = discretized(path, T)
        assert steps.zero_terminal
        np.testing.assert_allclose(steps.alpha_bar, schedule.alpha_bar, rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="does not preserve variance"):
        discretized(SubVP(), 10)


@each_path
def test_two_steps_of_the_chain_are_one(path):
    """From s to t and on to u: gains multiply, and variances add where they arrive."""
    s, t, u = (path.levels(time) for time in (0.1, 0.35, 0.8))
    first, second, both = transition(t, s), transition(u, t), transition(u, s)
    assert both.gain == pytest.approx(first.gain * second.gain, rel=1e-13)
    assert both.var == pytest.approx(second.gain**2 * first.var + second.var, rel=1e-12)
    assert first.var > 0


def test_the_steps_are_those_of_the_lectures():
    schedule, t = linear(50, 0.01, 0.2), np.arange(1, 51)
    path = of_schedule(schedule)
    vp = transition(path.levels(t), path.levels(t - 1))
    np.testing.assert_allclose(vp.gain**2, schedule.alpha[1:], rtol=1e-12)
    np.testing.assert_allclose(vp.var, schedule.beta[1:], rtol=1e-12)
    down = posterior(path.levels(t), path.levels(t - 1))
    np.testing.assert_allclose(down.var, schedule.posterior_var[1:], rtol=1e-11, atol=1e-16)
    sigma = VE().levels(np.array([0.2, 0.5])).b
    ve = transition(VE().levels(0.5), VE().levels(0.2))
    assert ve.gain == 1
    assert ve.var == pytest.approx(sigma[1] ** 2 - sigma[0] ** 2)


@each_path
def test_the_step_down_is_the_conditioned_gaussian(path):
    """x_s given x_t and the data, from the joint covariance of all three."""
    s, t = path.levels(0.3), path.levels(0.7)
    gain, var = transition(t, s)
    maps = np.array([[1, 0, 0], [s.a, s.b, 0], [gain * s.a, gain * s.b, math.sqrt(var)]])
    cov = maps @ maps.T  # of data, x_s, x_t when the data have variance 1
    weights = np.linalg.solve(cov[np.ix_([2, 0], [2, 0])], cov[[2, 0], 1])
    left = cov[1, 1] - weights @ cov[[2, 0], 1]
    down = posterior(t, s)
    np.testing.assert_allclose((down.of_x, down.of_data), weights, rtol=1e-7)
    assert down.var == pytest.approx(left, rel=1e-7)


# Whole times


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_can_stand_where_a_path_does(name):
    schedule = SCHEDULES[name](40)
    path, t = of_schedule(schedule), np.arange(41)
    a, b, da, db = path.levels(t)
    np.testing.assert_array_equal(a, schedule.signal(t))
    np.testing.assert_array_equal(b, schedule.spread(t))
    assert all(np.isfinite(level).all() for level in (a, b, da, db))
    assert (da < 0).all()
    assert (db > 0).all()
    for time in (0, 7, 40, np.int64(7)):
        assert path.levels(time) == tuple(level[time] for level in (a, b, da, db))


def test_a_schedules_rates_tend_to_the_paths_at_second_order_inside():
    path, sizes, errors = CosinePath(), [50, 100, 200, 400], []
    for T in sizes:
        t = np.arange(T // 10, 9 * T // 10)
        exact = path.levels(t / T)
        found = of_schedule(discretized(path, T)).levels(t)
        errors.append(
            max(np.abs(T * found.da - exact.da).max(), np.abs(T * found.db - exact.db).max())
        )
    assert check.order_of_convergence(sizes, errors) == pytest.approx(2, abs=0.1)


@each_path
def test_a_path_in_steps_has_its_own_levels_and_rates(path):
    steps = of_path(path, 20)
    exact, found = path.levels(np.arange(21) / 20), steps.levels(np.arange(21))
    np.testing.assert_array_equal(found.a, np.broadcast_to(exact.a, 21))
    np.testing.assert_array_equal(found.b, exact.b)
    np.testing.assert_allclose(found.da * 20, np.broadcast_to(exact.da, 21), rtol=1e-14)
    np.testing.assert_allclose(found.db * 20, exact.db, rtol=1e-14)


def test_noise_levels_are_a_path_that_counts_the_other_way():
    sigma = geometric(5, 2.0, 0.1)
    path = of_noise_levels(sigma)
    assert path.T == 5
    np.testing.assert_array_equal(path.levels(np.arange(5, 0, -1)).b, sigma)
    assert path.levels(0) == (1.0, 0.0, 0.0, 0.1)
    assert path.levels(3).da == 0
    assert path.levels(3).db == pytest.approx((sigma[1] - sigma[3]) / 2)
    for t in range(2, 6):
        gain, var = transition(path.levels(t), path.levels(t - 1))
        assert gain == 1
        assert var == pytest.approx(sigma[5 - t] ** 2 - sigma[6 - t] ** 2)


@given(T=st.integers(1, 300), seed=st.integers(0, 1000))
def test_a_discrete_path_names_the_nearest_time(T, seed):
    path = of_schedule(linear(T, 1e-3, 0.1))
    t = np.arange(1, T + 1)
    own = log_snr(path, t)
    np.testing.assert_array_equal(path.time_of(own), t)
    assert path.time_of(math.inf) == 0
    assert path.time_of(-math.inf) == T
    wanted = np.random.default_rng(seed).uniform(own[-1] - 1, own[0] + 1, 20)
    nearest = 1 + np.abs(own[:, None] - wanted).argmin(axis=0)
    np.testing.assert_array_equal(path.time_of(wanted), nearest)


def test_times_between_whole_ones_are_refused():
    path = of_schedule(linear(10))
    for t in (3.0, np.array([0.5]), np.float64(2.0), 11, -1, np.array([0, 11])):
        with pytest.raises(ValueError, match=r"whole numbers, 0 \.\. 10"):
            path.levels(t)
    with pytest.raises(ValueError, match="b/a must grow"):
        of_noise_levels(np.array([0.1, 1.0]))
    with pytest.raises(ValueError, match="all of one shape"):
        DiscretePath("mine", *(np.ones(n) for n in (3, 3, 3, 2)))
