"""Laws of schedules that end without signal, of noise levels, and of ends that are learnt."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check
from refgen.exact import Gaussian, Mixture
from refgen.noise import Noise
from refgen.processes.discrete import of_schedule
from refgen.processes.learned import LearnedSNR, bound, bound_backward
from refgen.processes.parametrization import convert, mean_from_data, refuse_blind
from refgen.processes.path import EDM, VE, VP, CosinePath, SigmoidPath, SubVP, log_snr, time_of
from refgen.processes.schedule import (
    SCHEDULES,
    Schedule,
    constant,
    cosine,
    from_alpha_bar,
    geometric,
    linear,
    quadratic,
    sigmoid,
    zero_terminal,
)
from refgen.processes.weights import elbo, in_kind

pytestmark = pytest.mark.tiny
each_schedule = pytest.mark.parametrize("name", SCHEDULES)
S = lambda u: 1 / (1 + np.exp(-u))  # noqa: E731


# Sigmoid, geometric


def test_the_sigmoid_schedule_is_its_formula():
    for first, last in ((-3.0, 3.0), (0.0, 3.0), (-2.0, 1.0)):
        u = first + (last - first) * np.arange(101) / 100
        exact = (S(last) - S(u)) / (S(last) - S(first))
        found = sigmoid(100, first, last).alpha_bar
        np.testing.assert_allclose(found[:-1], exact[:-1], rtol=1e-10)
        assert found[-1] == pytest.approx(found[-2] * 1e-3)  # max_beta at the last step
    with pytest.raises(ValueError, match="first < last"):
        sigmoid(10, 1.0, 0.0)


@given(L=st.integers(2, 200), first=st.floats(0.6, 90.0), last=st.floats(1e-3, 0.5))
def test_geometric_noise_levels_fall_in_equal_ratios_between_their_ends(L, first, last):
    sigma = geometric(L, first, last)
    assert sigma.shape == (L,)
    assert (sigma[0], sigma[-1]) == (first, last)
    assert (np.diff(sigma) < 0).all()
    np.testing.assert_allclose(sigma[1:] / sigma[:-1], (last / first) ** (1 / (L - 1)), rtol=1e-12)
    np.testing.assert_allclose(sigma[::-1], VE(last, first).levels(np.arange(L) / (L - 1)).b)


def test_noise_levels_that_cannot_be_are_refused():
    for L, first, last in ((1, 1.0, 0.1), (3, 0.1, 1.0), (3, 1.0, 0.0)):
        with pytest.raises(ValueError, match="0 < last < first and L ≥ 2"):
            geometric(L, first, last)


# No signal at the end


@each_schedule
@given(T=st.integers(2, 400))
def test_without_terminal_signal_the_first_level_stays_and_the_order_of_all(name, T):
    schedule = SCHEDULES[name](T)
    end = zero_terminal(schedule)
    assert end.zero_terminal
    assert (end.T, end.alpha_bar[0], end.alpha_bar[-1], end.beta[-1]) == (T, 1.0, 0.0, 1.0)
    assert end.alpha_bar[1] == pytest.approx(schedule.alpha_bar[1], rel=1e-12)
    assert (np.diff(end.alpha_bar) < 0).all()
    assert (end.signal(np.arange(2, T + 1)) < schedule.signal(np.arange(2, T + 1))).all()
    assert np.isfinite(end.posterior_var).all()


def test_the_signal_is_shifted_and_stretched_not_its_square():
    """√ᾱ' is affine in √ᾱ from t = 1 on, so its second differences keep their ratios."""
    schedule = linear(100, 1e-3, 0.1)
    old, new = np.sqrt(schedule.alpha_bar[1:]), np.sqrt(zero_terminal(schedule).alpha_bar[1:])
    slopes = np.diff(new) / np.diff(old)
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-8)
    assert slopes[0] == pytest.approx(old[0] / (old[0] - old[-1]), rel=1e-8)


def test_a_schedule_without_terminal_signal_stays_when_done_again():
    once = zero_terminal(cosine(50))
    np.testing.assert_allclose(zero_terminal(once).alpha_bar, once.alpha_bar, rtol=1e-12)


def test_at_the_end_the_posterior_knows_the_data_alone():
    """β_T = 1: x_{T−1} given x_T and the data is x_{T−1} given the data."""
    schedule = zero_terminal(linear(20, 1e-3, 0.1))
    assert schedule.posterior_var[-1] == pytest.approx(1 - schedule.alpha_bar[-2])
    x, data = np.array([3.0]), np.array([-0.5])
    mean = mean_from_data(x, data, schedule.alpha_bar[-1], schedule.alpha_bar[-2])
    np.testing.assert_allclose(mean, schedule.signal(19) * data)


@pytest.mark.parametrize("kind", ["noise", "score"])
def test_what_says_nothing_at_the_end_is_refused_with_the_reason(kind):
    end = zero_terminal(linear(30))
    with pytest.raises(ValueError, match=rf"at t = 30 no signal is left, so the {kind}"):
        refuse_blind(kind, end)
    refuse_blind(kind, linear(30))
    levels = of_schedule(end).levels(30)
    with pytest.raises(ValueError, match="predict v there"):
        convert(np.ones((1, 1)), np.ones((1, 1)), kind, "data", levels)


@pytest.mark.parametrize("kind", ["data", "v", "velocity", "mean"])
def test_data_v_velocity_and_mean_still_name_the_data_at_the_end(kind):
    end = zero_terminal(linear(30))
    refuse_blind(kind, end)
    path = of_schedule(end)
    levels, earlier = path.levels(30), path.levels(29)
    data, noise = Noise(0).normal((2, 4, 3))
    y = convert(noise, data, "data", kind, levels, earlier=earlier)
    back = convert(noise, y, kind, "data", levels, earlier=earlier)
    np.testing.assert_allclose(back, data, rtol=1e-9)
    if kind == "v":
        np.testing.assert_allclose(y, -data, rtol=1e-15)


def test_an_unmeant_end_is_still_refused():
    beta = np.array([0.0, 0.1, 1.0])
    with pytest.raises(ValueError, match=r"beta\[2\] = 1"):
        Schedule("mine", beta)
    assert Schedule("mine", beta, zero_terminal=True).alpha_bar[-1] == 0
    with pytest.raises(ValueError, match=r"the last beta is 1, not 0\.1"):
        Schedule("mine", beta[:2], zero_terminal=True)
    with pytest.raises(ValueError, match=r"beta\[1\] = 1"):
        Schedule("mine", np.array([0.0, 1.0, 1.0]), zero_terminal=True)
    with pytest.raises(ValueError, match="take T ≥ 2"):
        zero_terminal(constant(1, 0.5))


@each_schedule
def test_a_schedule_is_known_by_its_levels(name):
    schedule = SCHEDULES[name](80)
    again = from_alpha_bar("again", schedule.alpha_bar)
    np.testing.assert_allclose(again.beta, schedule.beta, rtol=1e-9)
    np.testing.assert_allclose(again.alpha_bar, schedule.alpha_bar, rtol=1e-12)


@pytest.mark.parametrize(
    ("alpha_bar", "why"),
    [
        ([1.0], r"\(T \+ 1,\)"),
        ([0.9, 0.5], r"alpha_bar\[0\] = 1"),
        ([1.0, 0.5, 0.5], "must fall"),
        ([1.0, 0.5, -0.1], "no less than 0"),
        ([1.0, math.nan], "must fall"),
    ],
)
def test_levels_that_are_no_schedule_are_refused(alpha_bar, why):
    with pytest.raises(ValueError, match=why):
        from_alpha_bar("mine", np.array(alpha_bar))


@pytest.mark.parametrize("make", [linear, quadratic])
def test_a_schedule_of_steps_begins_and_ends_with_the_betas_it_is_given(make):
    schedule = make(10, 0.01, 0.3)
    np.testing.assert_allclose(schedule.beta[[1, -1]], (0.01, 0.3), rtol=1e-12)
    assert not schedule.zero_terminal


# Learnt ends

WORLD = Gaussian(np.array([0.3, -0.2, 0.1]), np.diag([0.5, 1.7, 0.05]))
NODES, SHARES = np.polynomial.legendre.leggauss(80)
POINTS, SHARES = 0.5 * (NODES + 1), 0.5 * SHARES  # of [0, 1]


def error_of(a, b):
    """Return E‖ε̂ − noise‖² of the best prediction in WORLD: Σ a² v / (a² v + b²)."""
    var = np.diag(WORLD.cov)
    share = np.multiply.outer(a * a, var)
    return np.sum(share / (share + np.multiply.outer(b * b, np.ones(3))), axis=-1)


def mean_square():
    return float(np.sum(WORLD.mean**2) + np.trace(WORLD.cov))


def a_datum():
    """Return one example whose square is the mean square of the data: terms are linear in it."""
    return np.array([[math.sqrt(mean_square()), 0.0, 0.0]])


def mean_bound(first, last):
    """Return the mean bound with the best network, by quadrature over t; analytic in the ends."""
    path = LearnedSNR(first, last)
    a, b, _, _ = path.levels(POINTS)
    error = SHARES @ error_of(a, b)
    return bound(path, a_datum(), np.atleast_1d(error)).total[0]


@pytest.mark.parametrize("ends", [(-6.0, 4.0), (-2.0, 9.0), (0.5, 1.0)])
def test_the_slopes_in_the_ends_are_the_bounds_derivatives(ends):
    """The network sees γ at every t, yet the slopes ask for its error at the ends only."""
    path = LearnedSNR(*ends)
    (a0, b0, _, _), (a1, b1, _, _) = path.levels(0.0), path.levels(1.0)
    first, last, _ = bound_backward(
        np.ones(1),
        path,
        a_datum(),
        np.atleast_1d(error_of(np.array(a0), np.array(b0))),
        np.atleast_1d(error_of(np.array(a1), np.array(b1))),
    )
    for found, along in ((first, (1.0, 0.0)), (last, (0.0, 1.0))):
        exact = check.complex_step(
            mean_bound, [np.array(e) for e in ends], [np.array(t) for t in along]
        )
        assert found == pytest.approx(float(exact), abs=1e-11)


def test_the_slope_in_the_error_is_its_weight_in_the_elbo():
    path, dbound = LearnedSNR(-5.0, 3.0), np.array([1.0, 2.0])
    _, _, derror = bound_backward(dbound, path, np.ones((2, 3)), np.ones(2), np.ones(2))
    for t in (0.1, 0.8):
        levels = path.levels(t)
        np.testing.assert_allclose(derror, dbound * in_kind(elbo(levels), "noise", levels))


def test_the_slopes_are_a_sum_over_examples_weighted_as_they_came():
    path, data = LearnedSNR(-5.0, 3.0), Noise(0).normal((4, 2, 3))
    errors = Noise(1).uniform((2, 4))
    dbound = Noise(2).normal(4)
    whole = bound_backward(dbound, path, data, *errors)
    parts = [
        bound_backward(dbound[i : i + 1], path, data[i : i + 1], *errors[:, i : i + 1])
        for i in range(4)
    ]
    assert whole[0] == pytest.approx(sum(p[0] for p in parts))
    assert whole[1] == pytest.approx(sum(p[1] for p in parts))


@pytest.mark.parametrize(
    "path", [VP(), SubVP(), VE(), CosinePath(), CosinePath(0.008), SigmoidPath(), EDM()], ids=str
)
def test_the_diffusion_term_depends_on_the_ends_of_a_path_only(path):
    """½ ∫ |λ'| error dt between λ = 5 and λ = −4, by each path's own clock."""
    start, end = (float(time_of(path, level)) for level in (5.0, -4.0))
    root = np.sqrt(start) + (np.sqrt(end) - np.sqrt(start)) * POINTS  # milder where λ runs off
    levels = path.levels(root**2)
    weight = in_kind(elbo(levels), "noise", levels)
    clock = SHARES * 2 * root * (np.sqrt(end) - np.sqrt(start))
    found = clock @ (weight * error_of(levels.a, levels.b))
    straight = LearnedSNR(-5.0, 4.0)
    a, b, _, _ = straight.levels(POINTS)
    assert found == pytest.approx(0.5 * 9 * (SHARES @ error_of(a, b)), rel=1e-8)
    assert log_snr(straight, 0.0) == pytest.approx(5.0)
    assert log_snr(straight, 1.0) == pytest.approx(-4.0)


def test_the_best_bound_is_the_entropy_of_the_data_with_the_first_noise():
    """With a Gaussian: H[data + e^{γ₀/2} noise], which is more than H and falls to it."""
    excess = []
    for first in (-1.0, -4.0, -9.0):
        wider = Gaussian(WORLD.mean, WORLD.cov + math.exp(first) * np.eye(3))
        edges = np.linspace(first, 40.0, 12)
        diffusion = 0.0
        for lo, hi in pairwise(edges):
            a, b, _, _ = LearnedSNR(lo, hi).levels(POINTS)
            diffusion += 0.5 * (hi - lo) * float(SHARES @ error_of(a, b))
        terms = bound(LearnedSNR(first, 40.0), a_datum(), np.zeros(1))
        total = float(terms.prior[0] + terms.reconstruction[0]) + diffusion
        assert total == pytest.approx(wider.entropy, abs=1e-9)
        excess.append(total - WORLD.entropy)
    assert excess[0] > excess[1] > excess[2] > 0


def test_the_bound_of_a_mixture_is_its_entropy_too():
    """The same, where the best prediction is not linear: errors by quadrature over x."""
    world = Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [1.2]]), np.array([0.05, 0.2]))
    first = -5.0
    grid = np.linspace(-12, 12, 4001)

    def error(gamma):
        """1 − E (E[noise | x])², in coordinates where x has about unit width."""
        a, b = 1 / math.sqrt(1 + math.exp(gamma)), 1 / math.sqrt(1 + math.exp(-gamma))
        density = np.exp(world.log_density(grid[:, None], a, b))
        mean = world.noise_mean(grid[:, None], a, b)[:, 0]
        return 1 - np.sum(density * mean**2) * (grid[1] - grid[0])

    edges, diffusion = np.linspace(first, 36.0, 7), 0.0
    for lo, hi in pairwise(edges):
        gammas = lo + (hi - lo) * POINTS
        diffusion += 0.5 * (hi - lo) * float(SHARES @ [error(g) for g in gammas])
    square = float(world.weights @ (world.means[:, 0] ** 2 + world.var))
    terms = bound(LearnedSNR(first, 36.0), np.array([[math.sqrt(square)]]), np.zeros(1))
    wider = Mixture(world.weights, world.means, world.var + math.exp(first))
    total = float(terms.prior[0] + terms.reconstruction[0]) + diffusion
    assert total == pytest.approx(wider.entropy, abs=1e-7)


def test_the_first_end_always_wants_less_noise():
    """For data with a density ∂/∂γ₀ ≥ 0: it vanishes only as γ₀ → −∞."""
    slopes = []
    for first in (0.0, -4.0, -12.0):
        a, b, _, _ = LearnedSNR(first, 5.0).levels(0.0)
        error = np.atleast_1d(error_of(np.array(a), np.array(b)))
        dfirst, _, _ = bound_backward(np.ones(1), LearnedSNR(first, 5.0), a_datum(), error, error)
        slopes.append(dfirst)
    assert slopes[0] > slopes[1] > slopes[2] > 0
    assert slopes[2] < 1e-3


def test_the_bound_keeps_the_precision_of_the_data():
    data, error = np.ones((2, 3), np.float32), np.ones(2, np.float32)
    assert {term.dtype for term in bound(LearnedSNR(), data, error)} == {np.dtype(np.float32)}
