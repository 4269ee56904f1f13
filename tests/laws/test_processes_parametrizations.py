"""Laws of predictions: six kinds, one plane."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check
from refgen.exact import Gaussian, Mixture
from refgen.noise import Noise
from refgen.processes.discrete import of_schedule, posterior
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
from refgen.processes.path import EDM, VE, VP, CosinePath, Levels, SubVP, sde
from refgen.processes.schedule import cosine, linear
from refgen.processes.weights import loss_weight
from tests.duck import Duck
from tests.laws.predictions import LATE, each_kind, each_path, examples, some

pytestmark = pytest.mark.tiny
PAIRS = list(itertools.product(KINDS, KINDS))
each_pair = pytest.mark.parametrize(("source", "target"), PAIRS)
BLOBS = Mixture(np.array([0.3, 0.7]), np.array([[-1.0, 0.0], [1.0, 0.5]]), np.array([0.09, 0.05]))


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
