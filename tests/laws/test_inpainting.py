"""Laws of inpainting where what surrounds a known pixel is a Gaussian, and every moment exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.processes import cosine, linear, stride
from refgen.processes.guidance import levels_of
from refgen.samplers import sample_ancestral, sample_ddim
from refgen.samplers.inpainting import inpaint, knowing
from tests.laws.affine import moments

pytestmark = pytest.mark.tiny
WORLD = Gaussian(np.array([0.5, -0.3]), np.array([[0.6, 0.4], [0.4, 0.5]]))
APART = Gaussian(WORLD.mean, np.diag([0.6, 0.5]))  # the same, with nothing to learn from
KNOWN, MASK = np.array([1.5, 0.0]), np.array([1.0, 0.0])
GIVEN_MEAN = -0.3 + 0.4 / 0.6 * (1.5 - 0.5)
GIVEN_VAR = 0.5 - 0.4**2 / 0.6


def best(world, schedule):
    def predict(x, t):
        return world.noise_mean(x, *levels_of(schedule)(t))

    return predict


def filled(world, schedule, rounds, predict=None, **how):
    """Return mean and variance of the hole, without a draw: all steps are affine."""
    ask = predict or best(world, schedule)

    def sample(x, ops):
        return inpaint(
            ask,
            x,
            schedule,
            Noise(0),
            known=np.broadcast_to(KNOWN, x.shape),
            mask=MASK,
            rounds=rounds,
            ops=ops,
            **how,
        )

    mean, cov = moments(sample, np.zeros(2), np.eye(2))
    assert mean[0] == pytest.approx(1.5, abs=1e-12)
    assert np.abs(cov[0]).max() < 1e-20
    return mean[1], cov[1, 1]


def test_going_back_and_forth_fits_the_hole_to_what_is_known():
    """The conditional mean is 0.37, the marginal −0.3; each doubling of rounds brings it nearer.

    One round leaves two thirds of the way. Noise of another size on the way up, or known pixels
    that are not drawn anew, end elsewhere.
    """
    schedule = cosine(24)
    gaps = [abs(filled(WORLD, schedule, rounds)[0] - GIVEN_MEAN) for rounds in (1, 2, 4, 8, 16)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.2
    assert gaps[4] < 0.04
    assert gaps[4] < 0.15 * gaps[0]


def test_more_levels_bring_the_spread_of_the_hole_to_the_conditional_one():
    """The posterior's variance is too small for a step of some size, in every round anew."""
    found = [filled(WORLD, cosine(T), 6)[1] for T in (16, 32, 64)]
    gaps = [abs(var - GIVEN_VAR) for var in found]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[2] < 0.7 * gaps[1]


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_hole_that_does_not_depend_on_what_is_known_keeps_its_distribution(rounds):
    """With nothing to fit it is ancestral sampling, however often it goes back and forth."""
    gaps = [abs(filled(APART, cosine(T), rounds)[1] - 0.5) for T in (40, 80)]
    assert gaps[1] < 0.65 * gaps[0] < 0.06
    mean, var = filled(APART, cosine(40), rounds)
    assert mean == pytest.approx(-0.3, abs=0.02)
    plain_mean, plain_var = moments(
        lambda x, ops: sample_ancestral(best(APART, cosine(40)), x, cosine(40), Noise(0), ops=ops),
        np.zeros(2),
        np.eye(2),
    )
    if rounds == 1:
        assert mean == pytest.approx(plain_mean[1], abs=1e-9)
        assert var == pytest.approx(plain_var[1, 1], rel=1e-9)


@pytest.mark.parametrize("sampler", [sample_ancestral, sample_ddim])
def test_a_predictor_that_knows_leads_any_sampler_to_what_is_known(sampler):
    schedule, x = cosine(30), Noise(1).normal((50, 2))
    known = np.broadcast_to(KNOWN, x.shape)
    predict = knowing(best(WORLD, schedule), known, MASK, levels_of(schedule))
    out = sampler(predict, x, schedule, Noise(2))
    np.testing.assert_allclose(out[:, 0], 1.5, atol=1e-9)
    assert abs(out[:, 1].mean() - GIVEN_MEAN) < abs(-0.3 - GIVEN_MEAN)


def test_a_predictor_that_knows_walks_known_pixels_as_noised_data():
    """At every level they are a known + b noise: ancestral's own posterior, not a restart."""
    schedule, seen = cosine(20), []
    count = 4000
    known = np.full((count, 1), 1.5)

    def watch(x, t):
        seen.append((t, x))
        return 0 * x

    predict = knowing(watch, known, np.ones(1), levels_of(schedule))
    start = schedule.signal(20) * known + schedule.spread(20) * Noise(3).normal((count, 1))
    sample_ancestral(predict, start, schedule, Noise(4))
    for t, x in seen:
        a, b = levels_of(schedule)(t)
        assert abs(x.mean() - 1.5 * a) < 4 * b / np.sqrt(count)
        assert abs(x.var() / b**2 - 1) < 4 * np.sqrt(2 / count)


def test_with_nothing_known_it_is_the_sampler_itself():
    schedule, x = linear(12, 0.05, 0.4), Noise(1).normal((5, 2))
    predict = best(WORLD, schedule)
    none = knowing(predict, 0 * x, np.zeros(2), levels_of(schedule))
    assert np.array_equal(none(x, 5), predict(x, 5))
    mean, var = filled(WORLD, cosine(20), 1, predict=lambda x, t: 0 * x)
    assert (mean, var) != filled(WORLD, cosine(20), 1)


@given(steps=st.integers(1, 12), rounds=st.integers(1, 4))
def test_it_calls_the_network_rounds_times_a_step_and_once_at_the_last(steps, rounds):
    schedule, calls = linear(12), []

    def predict(x, t):
        calls.append(t)
        return 0 * x

    times, x = stride(12, steps), np.ones((1, 2))
    inpaint(predict, x, schedule, Noise(0), known=x, mask=MASK, times=times, rounds=rounds)
    assert calls == [t for t in times[:-2] for _ in range(rounds)] + [times[-2]]


def test_without_noise_of_its_own_it_still_depends_on_the_known_pixels_draws():
    schedule, x = cosine(10), Noise(1).normal((4, 2))

    def out(seed, eta):
        return inpaint(
            best(WORLD, schedule), x, schedule, Noise(seed), known=0 * x, mask=MASK, eta=eta
        )

    assert np.array_equal(out(1, 0.0), out(1, 0.0))
    assert not np.array_equal(out(1, 0.0), out(2, 0.0))
    assert not np.array_equal(out(1, 0.0), out(1, 1.0))


def test_clipped_estimates_stay_in_the_range_of_the_data():
    schedule, x = cosine(20), Noise(1).normal((4, 2))
    out = inpaint(
        lambda x, t: 0.1 * x, 50 * x, schedule, Noise(0), known=0 * x, mask=MASK, clip=1.0
    )
    assert np.abs(out).max() <= 1 + 1e-12


@pytest.mark.parametrize("how", [{"rounds": 0}, {"eta": -0.1}, {"eta": 1.1}])
def test_what_cannot_be_is_refused(how):
    x = np.ones((1, 2))
    with pytest.raises(ValueError, match="rounds ≥ 1 and eta"):
        inpaint(lambda x, t: x, x, linear(5), Noise(0), known=x, mask=MASK, **how)
