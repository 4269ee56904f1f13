"""Laws of predictions: six kinds, one plane, and weights under which all of them learn the same."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check
from refgen.exact import Gaussian, Mixture
from refgen.noise import Noise
from refgen.objectives.ddpm import loss_weights
from refgen.processes.discrete import of_schedule, posterior, transition
from refgen.processes.parametrization import (
    KINDS,
    area,
    clip,
    clip_noise,
    coefficients,
    convert,
    data_from_noise,
    direction,
    mean_from_data,
    mean_from_noise,
    noise_from_data,
    refuse_blind,
    score_from_noise,
    taught,
)
from refgen.processes.path import EDM, PATHS, VE, VP, CosinePath, Levels, SubVP, log_snr, sde
from refgen.processes.schedule import SCHEDULES, cosine, linear, zero_terminal
from refgen.processes.weights import (
    WEIGHTS,
    elbo,
    elbo_of_step,
    in_kind,
    loss_weight,
    schedule_weights,
)
from tests.duck import Duck

pytestmark = pytest.mark.tiny
PAIRS = list(itertools.product(KINDS, KINDS))
each_pair = pytest.mark.parametrize(("source", "target"), PAIRS)
each_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
each_kind = pytest.mark.parametrize("kind", KINDS)
each_weight = pytest.mark.parametrize("name", WEIGHTS)
EARLY, LATE = 0.35, 0.6
BLOBS = Mixture(np.array([0.3, 0.7]), np.array([[-1.0, 0.0], [1.0, 0.5]]), np.array([0.09, 0.05]))


def some(path, t=LATE, s=EARLY):
    """Return levels at a time and at one before it."""
    return path.levels(t), path.levels(s)


def examples(levels, earlier, seed=0):
    """Return x and what every kind says of it, made of known data and noise."""
    data, noise = Noise(seed).normal((2, 5, 3))
    x = levels.a * data + levels.b * noise
    return x, {k: taught(k, data, noise, levels, earlier=earlier) for k in KINDS}


# Conversions: one closed family


@each_path
@each_pair
def test_every_kind_says_what_every_other_does(path, source, target):
    levels, earlier = some(path)
    x, says = examples(levels, earlier)
    found = convert(x, says[source], source, target, levels, earlier=earlier)
    scale = np.abs(says[target]).max()
    np.testing.assert_allclose(found, says[target], rtol=0, atol=2e-12 * max(scale, 1))


@pytest.mark.parametrize("path", [VP(), SubVP(), CosinePath()], ids=["vp", "sub-vp", "cosine"])
@each_pair
def test_there_and_back_is_where_one_was(path, source, target):
    """At 1e-12, for a prediction that is no one's truth: a network's."""
    levels, earlier = some(path, 0.45)
    x, y = Noise(1).normal((2, 5, 3))
    there = convert(x, y, source, target, levels, earlier=earlier)
    back = convert(x, there, target, source, levels, earlier=earlier)
    np.testing.assert_allclose(back, y, rtol=0, atol=1e-12)


@given(
    st.sampled_from(KINDS),
    st.sampled_from(KINDS),
    st.sampled_from(KINDS),
    st.floats(0.2, 1.3),
    st.floats(0.2, 1.3),
    st.integers(0, 2**31),
)
def test_a_detour_changes_nothing(first, second, third, a, b, seed):
    """Composition closes, at any levels, not only where a² + b² = 1."""
    levels = Levels(a, b, -0.7, 0.9)
    earlier = Levels(1.2 * a, 0.6 * b, 0.0, 0.0)
    x, y = np.random.default_rng(seed).normal(size=(2, 4))
    detour = convert(x, y, first, second, levels, earlier=earlier)
    detour = convert(x, detour, second, third, levels, earlier=earlier)
    straight = convert(x, y, first, third, levels, earlier=earlier)
    scale = max(1, np.abs(straight).max(), np.abs(y).max(), np.abs(detour).max())
    np.testing.assert_allclose(detour, straight, rtol=0, atol=1e-11 * scale)


@each_kind
def test_a_kind_is_itself(kind):
    levels, earlier = some(VP())
    x, y = Noise(2).normal((2, 5, 3))
    np.testing.assert_array_equal(convert(x, y, kind, kind, levels, earlier=earlier), y)


# What the kinds mean, in worlds where it is known


@each_path
@pytest.mark.parametrize("world", [BLOBS, Gaussian(np.array([0.5, -0.3]), np.diag([0.6, 0.2]))])
def test_the_kinds_are_the_conditional_means_of_a_world(path, world):
    """From E[noise | x] alone: Tweedie's data, the score, and the field of flow matching."""
    levels, earlier = some(path)
    a, b, da, db = levels
    x = a * world.sample(6, Noise(3)) + b * Noise(4).normal((6, 2))
    noise = world.noise_mean(x, a, b)
    truth = {
        "data": world.data_mean(x, a, b),
        "score": world.score(x, a, b),
        "velocity": world.velocity(x, a, b, da, db),
        "v": a * noise - b * world.data_mean(x, a, b),
    }
    for kind, exact in truth.items():
        found = convert(x, noise, "noise", kind, levels, earlier=earlier)
        np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-10)


@each_path
def test_the_mean_is_the_posteriors(path):
    levels, earlier = some(path)
    x, says = examples(levels, earlier)
    of_x, of_data, _ = posterior(levels, earlier)
    np.testing.assert_allclose(says["mean"], of_x * x + of_data * says["data"], rtol=1e-11)


def test_the_velocity_is_that_of_the_probability_flow():
    """Da data + db noise = f x − ½ g² score, Song's ODE."""
    for path in (VP(), SubVP(), VE(), EDM(), CosinePath()):
        levels, earlier = some(path)
        x, says = examples(levels, earlier)
        f, g2 = sde(path, LATE)
        np.testing.assert_allclose(says["velocity"], f * x - 0.5 * g2 * says["score"], rtol=1e-9)


def test_on_the_circle_velocity_and_v_are_one():
    """Uniform motion on the arc: dx/dt = ½π v, v = a noise − b data."""
    levels, earlier = some(CosinePath())
    _, says = examples(levels, earlier)
    np.testing.assert_allclose(says["velocity"], 0.5 * math.pi * says["v"], rtol=1e-12)


def test_v_is_noise_less_data_and_turns_with_x():
    """(x, v) is (data, noise) turned by the angle of (a, b)."""
    a, b = 0.6, 0.8
    data, noise = Noise(5).normal((2, 4))
    levels = Levels(a, b, 0.0, 0.0)
    v = taught("v", data, noise, levels)
    np.testing.assert_allclose(v, a * noise - b * data)
    x = a * data + b * noise
    np.testing.assert_allclose(convert(x, v, "v", "data", levels), a * x - b * v, atol=1e-15)
    np.testing.assert_allclose(convert(x, v, "v", "noise", levels), b * x + a * v, atol=1e-15)
    np.testing.assert_allclose(x**2 + v**2, data**2 + noise**2)


def test_the_pages_first_equations_are_the_family_at_the_levels_of_alpha_bar():
    schedule = cosine(30)
    t = np.array([3, 11, 29])
    path = of_schedule(schedule)
    levels, earlier = path.levels(t), path.levels(t - 2)
    x, noise = Noise(6).normal((2, 3, 4))
    bar, before = schedule.alpha_bar[t][:, None], schedule.alpha_bar[t - 2][:, None]
    data = data_from_noise(x, noise, bar)
    same = {
        ("noise", "data"): data,
        ("noise", "score"): score_from_noise(noise, bar),
        ("noise", "mean"): mean_from_noise(x, noise, bar, bar / before),
    }
    for (source, target), exact in same.items():
        found = convert(x, noise, source, target, levels, earlier=earlier)
        np.testing.assert_allclose(found, exact, rtol=1e-10)
    found = convert(x, data, "data", "mean", levels, earlier=earlier)
    np.testing.assert_allclose(found, mean_from_data(x, data, bar, before), rtol=1e-10)
    found = convert(x, data, "data", "noise", levels)
    np.testing.assert_allclose(found, noise_from_data(x, data, bar), rtol=1e-10)


@each_kind
def test_clipping_any_kind_is_clipping_the_data(kind):
    schedule = linear(50, 0.01, 0.2)
    path = of_schedule(schedule)
    levels, earlier = path.levels(20), path.levels(15)
    x, noise = Noise(7).normal((2, 6, 2))
    y = convert(x, noise, "noise", kind, levels, earlier=earlier)
    clipped = clip(x, y, kind, 0.3, levels, earlier=earlier)
    as_noise = convert(x, clipped, kind, "noise", levels, earlier=earlier)
    exact = clip_noise(x, noise, float(schedule.alpha_bar[20]), 0.3)
    np.testing.assert_allclose(as_noise, exact, rtol=1e-9, atol=1e-12)


def test_levels_of_each_example_go_with_their_example():
    path, t = VP(), np.array([0.2, 0.5, 0.9])
    levels, earlier = path.levels(t), path.levels(t / 2)
    x, y = Noise(8).normal((2, 3, 4, 5))
    together = convert(x, y, "v", "mean", levels, earlier=earlier)
    for i in range(3):
        one = path.levels(float(t[i])), path.levels(float(t[i]) / 2)
        alone = convert(x[i : i + 1], y[i : i + 1], "v", "mean", one[0], earlier=one[1])
        np.testing.assert_allclose(together[i : i + 1], alone, rtol=1e-13)


def test_a_conversion_keeps_the_precision_of_x():
    x = np.ones((3, 2), np.float32)
    for levels in (VP().levels(0.5), VP().levels(np.array([0.1, 0.5, 0.9]))):
        assert convert(x, x, "noise", "v", levels).dtype == np.float32
        assert taught("v", x, x, levels).dtype == np.float32


@pytest.mark.parametrize("levels_there", [True, False], ids=["levels there", "levels here"])
@each_pair
def test_arrays_of_a_device_stay_there(source, target, levels_there):
    path, t = of_schedule(cosine(20)), np.array([3, 9, 20])
    x, y = Noise(14).normal((2, 3, 4), dtype=np.float32)
    exact = convert(x, y, source, target, path.levels(t), earlier=path.levels(t - 2))
    if levels_there:
        levels, earlier = path.levels(Duck(t)), path.levels(Duck(t - 2))
        assert isinstance(loss_weight("min-snr", source, levels, earlier=earlier), Duck)
    else:
        levels, earlier = path.levels(t), path.levels(t - 2)
    found = convert(Duck(x), Duck(y), source, target, levels, earlier=earlier)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.a, exact)


@each_pair
def test_the_adjoint_of_a_conversion_is_its_coefficients(source, target):
    levels, earlier = some(VP())
    x, y, dx, dy = Noise(9).normal((4, 5, 3))
    moved = check.complex_step(
        lambda x, y: convert(x, y, source, target, levels, earlier=earlier), [x, y], [dx, dy]
    )
    of_x, of_y = coefficients(source, target, levels, earlier)
    assert np.abs(moved - of_x * dx - of_y * dy).max() < 1e-12 * max(1, abs(of_x), abs(of_y))


# Ends


def test_what_each_kind_says_at_the_ends():
    """Δ = 0 names exactly what cannot be predicted: data where b = 0, noise where a = 0."""
    data_end, noise_end = CosinePath().levels(0.0), CosinePath().levels(1.0)
    before = CosinePath().levels(0.5)
    assert area("data", data_end) == 0
    assert area("noise", noise_end) == 0
    assert area("v", data_end) == area("v", noise_end) == 1
    assert area("score", noise_end) == 0
    assert area("velocity", data_end) == pytest.approx(math.pi / 2)
    assert area("velocity", noise_end) == pytest.approx(math.pi / 2)
    assert area("mean", noise_end, before) == pytest.approx(-before.a)
    x, data = Noise(10).normal((2, 4, 2))
    np.testing.assert_array_equal(convert(data, data, "noise", "data", data_end), data)
    np.testing.assert_array_equal(convert(x, data, "data", "noise", noise_end), x)
    for source, levels in (("data", data_end), ("noise", noise_end), ("score", noise_end)):
        gone = "noise" if source == "data" else "signal"
        with pytest.raises(ValueError, match=rf"no {gone} is left {source} says nothing"):
            convert(x, data, source, "v", levels)


def test_what_has_no_finite_value_at_the_data_is_refused():
    levels, x = VP().levels(0.0), np.ones((2, 1))
    for kind in ("score", "mean"):
        with pytest.raises(ValueError, match=f"there is no {kind}"):
            convert(x, x, "noise", kind, levels, earlier=levels)
    with pytest.raises(ValueError, match="rates are infinite"):
        convert(x, x, "noise", "velocity", levels)
    np.testing.assert_array_equal(convert(x, 0 * x, "noise", "v", levels), 0 * x)


def test_bad_kinds_are_refused():
    levels, x = VP().levels(0.5), np.ones((2, 1))
    with pytest.raises(ValueError, match="unknown prediction 'eps'; there are data, noise, v"):
        convert(x, x, "eps", "data", levels)
    with pytest.raises(ValueError, match="earlier="):
        direction("mean", levels)
    with pytest.raises(ValueError, match="unknown prediction 'eps'"):
        refuse_blind("eps", linear(5))


# Weights: one definition


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
