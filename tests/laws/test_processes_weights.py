"""Laws of the loss weights: under each, every kind of prediction learns the same."""

import numpy as np
import pytest

from refgen import check
from refgen.noise import Noise
from refgen.objectives.ddpm import loss_weights
from refgen.processes.discrete import posterior, transition
from refgen.processes.parametrization import KINDS, area, coefficients, convert
from refgen.processes.path import VE, VP, CosinePath, Levels, SubVP, log_snr
from refgen.processes.schedule import SCHEDULES, linear, zero_terminal
from refgen.processes.weights import (
    WEIGHTS,
    elbo,
    elbo_of_step,
    in_kind,
    loss_weight,
    schedule_weights,
)
from tests.laws.predictions import EARLY, LATE, each_kind, each_path, examples, some

pytestmark = pytest.mark.tiny
each_weight = pytest.mark.parametrize("name", WEIGHTS)


# One definition


@each_path
@each_kind
def test_an_error_is_one_error_in_the_units_of_its_kind(path, kind):
    levels, earlier = some(path)
    x, says = examples(levels, earlier)
    wrong = convert(x, says["noise"] + 0.1, "noise", kind, levels, earlier=earlier)
    ratio = area(kind, levels, earlier) / area("noise", levels, earlier)
    np.testing.assert_allclose(wrong - says[kind], 0.1 * ratio, rtol=1e-8)


@each_kind
def test_the_areas_are_those_of_the_page(kind):
    a, b, _, _ = VP().levels(LATE)
    earlier = VP().levels(EARLY)
    var = transition(VP().levels(LATE), earlier).var
    rate = (log_snr(VP(), LATE + 1e-6) - log_snr(VP(), LATE - 1e-6)) / 2e-6
    known = {
        "data": -b,
        "noise": a,
        "v": 1.0,
        "score": -a / b,
        "velocity": -0.5 * a * b * rate,
        "mean": -earlier.a * var / b,
    }
    assert area(kind, VP().levels(LATE), earlier) == pytest.approx(known[kind], rel=1e-7)


def network(theta, x):
    """Return a small network's answer, analytic in theta : (2, 3)."""
    return np.tanh(x * theta[0]) * theta[1] + 0.3 * np.roll(x, 1, axis=1) * theta[0]


@each_weight
@pytest.mark.parametrize("trained_on", KINDS)
@pytest.mark.parametrize("answers", ["noise", "v", "data"])
def test_the_weighted_gradient_is_the_same_in_every_parametrization(name, trained_on, answers):
    """The network answers in one kind; its error is measured in any other, at its own weight."""
    levels, earlier = some(VP())
    x, says = examples(levels, earlier, seed=11)
    theta, along = Noise(12).normal((2, 2, 3))

    def loss(theta, kind):
        answer = network(theta, x)
        y = convert(x, answer, answers, kind, levels, earlier=earlier)
        weight = loss_weight(name, kind, levels, earlier=earlier)
        return weight * np.sum((y - says[kind]) ** 2)

    value, truth = loss(theta, trained_on), loss(theta, "noise")
    assert value == pytest.approx(truth, rel=1e-11)
    slopes = [
        float(check.complex_step(lambda p, k=k: loss(p, k), [theta], [along]))
        for k in (trained_on, "noise")
    ]
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-11)


def test_by_hand_the_gradient_of_the_answer_is_the_same_too():
    """Dε̂ = 2 w_kind (Δ_kind/Δ_noise) (ŷ − y), whatever the kind."""
    levels, earlier = some(SubVP())
    x, says = examples(levels, earlier)
    answer = says["noise"] + Noise(13).normal((5, 3))
    for name in WEIGHTS:
        first = 2 * loss_weight(name, "noise", levels) * (answer - says["noise"])
        for kind in KINDS:
            y = convert(x, answer, "noise", kind, levels, earlier=earlier)
            weight = loss_weight(name, kind, levels, earlier=earlier)
            _, chain = coefficients("noise", kind, levels, earlier)
            np.testing.assert_allclose(2 * weight * chain * (y - says[kind]), first, rtol=1e-9)


SNRS = np.array([1e-3, 0.2, 1.0, 4.9, 5.1, 300.0])


def at_snr(snr):
    """Return the levels, a² + b² = 1, with these signal-to-noise ratios."""
    return Levels(np.sqrt(snr / (1 + snr)), np.sqrt(1 / (1 + snr)), 0 * snr, 0 * snr)


def test_the_weights_are_those_of_their_papers():
    """Each as its paper prints it, in the parametrization that it prints it for."""
    levels, s, g = at_snr(SNRS), SNRS, 5.0
    printed = {
        ("simple", "noise"): 1 + 0 * s,
        ("simple", "data"): s,
        ("data", "data"): 1 + 0 * s,
        ("v", "v"): 1 + 0 * s,
        ("v", "data"): s + 1,
        ("truncated", "data"): np.maximum(s, 1),
        ("min-snr", "data"): np.minimum(s, g),
        ("min-snr", "noise"): np.minimum(s, g) / s,
        ("min-snr", "v"): np.minimum(s, g) / (s + 1),
        ("p2", "noise"): 1 / (1 + s),
    }
    for (name, kind), weight in printed.items():
        found = loss_weight(name, kind, levels)
        np.testing.assert_allclose(found, weight, rtol=1e-12, err_msg=f"{name} {kind}")
    found = loss_weight("p2", "noise", levels, gamma=0.5, k=2.0)
    np.testing.assert_allclose(found, (2 + s) ** -0.5, rtol=1e-12)
    found = loss_weight("min-snr", "data", levels, gamma=1.0)
    np.testing.assert_allclose(found, np.minimum(s, 1), rtol=1e-12)
    np.testing.assert_allclose(
        loss_weight("p2", "noise", levels, gamma=0.0), loss_weight("simple", "noise", levels)
    )


def test_more_signal_never_weighs_an_error_of_the_noise_more():
    """Of the weights with a name, but the bound: none is upside down."""
    for name in set(WEIGHTS) - {"elbo"}:
        weight = np.asarray(loss_weight(name, "noise", at_snr(SNRS))) + 0 * SNRS
        assert (np.diff(weight) <= 1e-15).all(), name


def test_v_has_a_weight_where_the_noise_has_none():
    """At a = 0 the weight on v is W, and finite; none on the noise gives the same loss."""
    end = CosinePath().levels(1.0)
    found = {name: float(loss_weight(name, "v", end)) for name in WEIGHTS}
    assert found == pytest.approx(
        {"simple": 0, "data": 1, "v": 1, "truncated": 1, "min-snr": 0, "p2": 0, "elbo": 0}
    )
    for kind in ("noise", "score"):
        with pytest.raises(ValueError, match=f"{kind} says nothing"):
            loss_weight("truncated", kind, end)
    weights = schedule_weights("min-snr", "v", zero_terminal(linear(20)))
    assert np.isfinite(weights).all()
    assert weights[0] == weights[-1] == 0


def test_weights_that_cannot_be_are_refused():
    levels = at_snr(SNRS)
    with pytest.raises(ValueError, match="unknown loss weight 'snr'; there are simple, data"):
        loss_weight("snr", "noise", levels)
    with pytest.raises(ValueError, match="gamma is a positive"):
        loss_weight("min-snr", "noise", levels, gamma=0.0)
    for settings in ({"gamma": -1.0}, {"k": 0.0}):
        with pytest.raises(ValueError, match="p2"):
            loss_weight("p2", "noise", levels, **settings)
    with pytest.raises(ValueError, match="there are beta, posterior"):
        elbo_of_step(*some(VP()), variance="small")
    with pytest.raises(ValueError, match="no variance in the step to t = 0"):
        schedule_weights("elbo", "noise", linear(5), variance="posterior")


# The bound's weight


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_bounds_weights_are_those_of_the_objective(name):
    schedule = SCHEDULES[name](50)
    np.testing.assert_allclose(
        schedule_weights("elbo", "noise", schedule), loss_weights(schedule, "elbo"), rtol=1e-10
    )
    np.testing.assert_array_equal(
        schedule_weights("simple", "noise", schedule), loss_weights(schedule, "simple")
    )


def test_a_step_of_the_bound_is_the_fall_of_the_signal_to_noise_ratio():
    """With the posterior's variance: on the data ½ (SNR_s − SNR_t), on the noise ½ (e^Δλ − 1)."""
    for path in (VP(), SubVP(), VE(), CosinePath()):
        levels, earlier = some(path)
        snr, before = (np.exp(log_snr(path, t)) for t in (LATE, EARLY))
        W = elbo_of_step(levels, earlier, variance="posterior")
        assert in_kind(W, "data", levels) == pytest.approx((before - snr) / 2, rel=1e-10)
        assert in_kind(W, "noise", levels) == pytest.approx((before / snr - 1) / 2, rel=1e-10)


def test_the_bounds_weight_on_the_mean_is_one_over_twice_the_variance():
    levels, earlier = some(VP())
    for variance, var in (
        ("beta", transition(levels, earlier).var),
        ("posterior", posterior(levels, earlier).var),
    ):
        W = elbo_of_step(levels, earlier, variance=variance)
        found = in_kind(W, "mean", levels, earlier=earlier)
        assert found == pytest.approx(1 / (2 * var), rel=1e-12)


def test_the_weight_of_small_steps_tends_to_that_of_continuous_time():
    """T times the term of a step, against ½ |λ'|: the gap falls as 1/T, with either variance."""
    path, t = VP(), 0.5
    exact = in_kind(elbo(path.levels(t)), "noise", path.levels(t))
    rate = (log_snr(path, t + 1e-6) - log_snr(path, t - 1e-6)) / 2e-6
    assert exact == pytest.approx(-0.5 * rate, rel=1e-8)
    for variance in ("beta", "posterior"):
        sizes, errors = [100, 200, 400, 800], []
        for T in sizes:
            levels, earlier = path.levels(t), path.levels(t - 1 / T)
            W = elbo_of_step(levels, earlier, variance=variance, steps=T)
            errors.append(abs(in_kind(W, "noise", levels) - exact))
        assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)
