"""Learned and other variances of the ancestral sampler, DDIM run backwards, and the trace."""

from itertools import pairwise

import numpy as np
import pytest

from refgen import check
from refgen.exact import Gaussian, Mixture
from refgen.noise import Noise
from refgen.processes import cosine, linear, stride
from refgen.processes.schedule import zero_terminal
from refgen.samplers.ancestral import (
    SHARES,
    VARIANCES,
    sample_ancestral,
    sample_ancestral_learned,
)
from refgen.samplers.ddim import invert_ddim, sample_ddim
from refgen.samplers.edm import sample_edm
from refgen.samplers.walk import trace
from tests.laws.affine import moments

pytestmark = pytest.mark.tiny
WIDE = Gaussian(np.array([0.5, -0.3]), np.diag([0.7, 0.04]))
BLOBS = Mixture(np.array([0.3, 0.7]), np.array([[-1.0, 0.0], [1.0, 0.5]]), np.array([0.09, 0.05]))


def noise_of(world, schedule):
    """Return the exact noise prediction on a schedule."""

    def predict(x, t):
        return world.noise_mean(x, schedule.signal(t), schedule.spread(t))

    return predict


# Variances.


@pytest.mark.parametrize("times", [(8, 7, 6, 5, 4, 3, 2, 1, 0), (8, 5, 1, 0)])
@pytest.mark.parametrize("name", VARIANCES)
def test_a_network_that_names_the_share_of_a_variance_gets_that_variance(name, times):
    """At v = 0, ½ and 1, on every list: β of the jump, its β̃, and the mean of their logarithms."""
    schedule, x = linear(8, 0.05, 0.4), Noise(1).normal((6, 2))
    predict = noise_of(WIDE, schedule)
    known = sample_ancestral(predict, x, schedule, Noise(2), times=times, variance=name)
    learned = sample_ancestral_learned(
        lambda x, t: (predict(x, t), 0 * x + SHARES[name]), x, schedule, Noise(2), times=times
    )
    np.testing.assert_allclose(learned, known, rtol=1e-9)


def test_between_is_half_way_in_logarithms():
    schedule, x, s = linear(8, 0.05, 0.4), np.zeros((1, 1)), 3
    found = {}
    for name in VARIANCES:
        predict, visited = trace(lambda x, t: 0 * x)
        sample_ancestral(predict, x, schedule, Noise(5), times=[8, s, 0], variance=name)
        found[name] = visited[1][1].item() / Noise(5).at("step", 8).normal(1)[0]  # σ
    kept = schedule.alpha_bar
    beta = 1 - kept[8] / kept[s]
    assert found["beta"] ** 2 == pytest.approx(beta)
    assert found["posterior"] ** 2 == pytest.approx(beta * (1 - kept[s]) / (1 - kept[8]))
    assert found["between"] ** 2 == pytest.approx(found["beta"] * found["posterior"])


@pytest.mark.parametrize("steps", [2, 5, 40])
def test_with_the_true_variance_of_each_coordinate_few_steps_are_as_good_as_many(steps):
    """The reverse kernels of a Gaussian are Gaussian: β M_s / M_t, M the marginal variance.

    What is missing at the end is the spread of data given x_1, which the last step leaves out.
    """
    schedule, own = linear(40, 1e-3, 0.3), np.diag(WIDE.cov)
    times, shares = stride(40, steps), {}
    for t, s in pairwise(times):
        spread_t, spread_s = (1 - schedule.alpha_bar[i] for i in (t, s))
        of_t, of_s = (schedule.alpha_bar[i] * own + 1 - schedule.alpha_bar[i] for i in (t, s))
        low = np.log(spread_s / spread_t) if s else -1.0  # of β̃ / β; nothing is drawn at s = 0
        shares[t] = 1 - np.log(of_s / of_t) / low
        assert not s or np.all((shares[t] >= 0) & (shares[t] <= 1))

    def predict(x, t):
        return noise_of(WIDE, schedule)(x, t), 0 * x + shares[t]

    kept = schedule.alpha_bar[40]
    found = moments(
        lambda x, ops: sample_ancestral_learned(
            predict, x, schedule, Noise(0), times=times, ops=ops
        ),
        np.sqrt(kept) * WIDE.mean,
        np.diag(kept * own + 1 - kept),
    )
    kept = schedule.alpha_bar[times[-2]]
    given = own * (1 - kept) / (kept * own + 1 - kept)  # Var[data | x] at the last time
    np.testing.assert_allclose(found[0], WIDE.mean, atol=1e-9)
    np.testing.assert_allclose(found[1], np.diag(own - given), atol=1e-9)


def test_learned_variances_take_one_call_a_step_and_draw_nothing_at_the_last():
    schedule = cosine(12)
    for steps in range(1, 13):
        predict, visited = trace(lambda x, t: (0.1 * x, 0.5 + 0 * x))
        times = stride(12, steps)
        sample_ancestral_learned(predict, np.ones((1, 2)), schedule, Noise(0), times=times)
        assert [t for t, _ in visited] == list(times[:-1])
    a, b = (
        sample_ancestral_learned(
            lambda x, t: (0.1 * x, 0 * x + 1), np.ones((2, 2)), schedule, Noise(s), times=[12, 0]
        )
        for s in (1, 2)
    )
    assert np.array_equal(a, b)
    out = sample_ancestral_learned(
        lambda x, t: (0.1 * x, 0.5 + 0 * x), 50 * np.ones((4, 2)), schedule, Noise(0), clip=1.0
    )
    assert np.abs(out).max() <= 1 + 1e-12


# Inversion.


@pytest.mark.parametrize("world", [WIDE, BLOBS], ids=["gaussian", "mixture"])
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_ddim_run_backwards_returns_within_the_order_of_its_rounds(world, rounds):
    data, errors, sizes = world.sample(20, Noise(3)), [], [250, 500, 1000]
    for T in sizes:
        schedule = linear(T, 0.1 / T, 20 / T)
        predict = noise_of(world, schedule)
        code = invert_ddim(predict, data, schedule, rounds=rounds)
        errors.append(np.abs(sample_ddim(predict, code, schedule, Noise(0)) - data).max())
    order = check.order_of_convergence(sizes, errors)
    assert order > rounds - 0.1
    assert world is BLOBS or order == pytest.approx(rounds, abs=0.1)


@pytest.mark.parametrize("world", [WIDE, BLOBS], ids=["gaussian", "mixture"])
def test_many_rounds_return_exactly_from_a_coarse_list(world):
    schedule = linear(1000)
    predict, times = noise_of(world, schedule), stride(1000, 50)
    data = world.sample(20, Noise(3))
    code = invert_ddim(predict, data, schedule, times=times, rounds=60)
    back = sample_ddim(predict, code, schedule, Noise(0), times=times)
    np.testing.assert_allclose(back, data, atol=1e-9)
    x = Noise(4).normal((20, 2))  # and the other way round
    there = sample_ddim(predict, x, schedule, Noise(0), times=times)
    again = invert_ddim(predict, there, schedule, times=times, rounds=60)
    np.testing.assert_allclose(again, x, atol=1e-7)


def test_the_code_of_gaussian_data_is_where_the_flow_takes_them():
    data, errors, sizes = WIDE.sample(20, Noise(3)), [], [125, 250, 500]
    for T in sizes:
        schedule = linear(T, 0.1 / T, 20 / T)
        kept = schedule.alpha_bar[-1]
        spread = np.sqrt((kept * np.diag(WIDE.cov) + 1 - kept) / np.diag(WIDE.cov))
        exact = np.sqrt(kept) * WIDE.mean + (data - WIDE.mean) * spread
        code = invert_ddim(noise_of(WIDE, schedule), data, schedule)
        errors.append(np.abs(code - exact).max())
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.15)


def test_inversion_asks_as_often_as_it_says_and_never_at_the_data():
    schedule = cosine(12)
    for steps in range(1, 13):
        for rounds in (1, 3):
            predict, visited = trace(lambda x, t: 0.1 * x)
            times = stride(12, steps)
            invert_ddim(predict, np.ones((1, 2)), schedule, times=times, rounds=rounds)
            assert [t for t, _ in visited] == [t for t in times[-2::-1] for _ in range(rounds)]


# The trace.


def test_a_trace_keeps_where_a_sampler_has_been_and_changes_nothing():
    schedule, x, times = cosine(20), Noise(1).normal((3, 2)), stride(20, 4)
    predict, visited = trace(noise_of(BLOBS, schedule))
    end = sample_ddim(predict, x, schedule, Noise(2), times=times)
    assert np.array_equal(
        end, sample_ddim(noise_of(BLOBS, schedule), x, schedule, Noise(2), times=times)
    )
    assert [t for t, _ in visited] == [20, 15, 10, 5]
    assert np.array_equal(visited[0][1], x)
    for (t, at), (s, arrived) in pairwise([*visited, (0, end)]):
        data = BLOBS.data_mean(at, schedule.signal(t), schedule.spread(t))
        noise = BLOBS.noise_mean(at, schedule.signal(t), schedule.spread(t))
        there = schedule.signal(s) * data + schedule.spread(s) * noise
        np.testing.assert_allclose(arrived, there, rtol=1e-9)


def test_a_trace_works_for_whatever_a_sampler_asks():
    denoise, visited = trace(lambda x, sigma: BLOBS.data_mean(x, 1.0, sigma))
    x = 3 * Noise(1).normal((3, 2))
    sample_edm(denoise, x, [3.0, 1.0, 0.0], Noise(2))
    assert [sigma for sigma, _ in visited] == [3.0, 1.0, 1.0]


def test_bad_walks_are_refused():
    x = np.ones((1, 2))
    with pytest.raises(ValueError, match="one round"):
        invert_ddim(lambda x, t: x, x, linear(10), rounds=0)
    with pytest.raises(ValueError, match="fall strictly"):
        invert_ddim(lambda x, t: x, x, linear(10), times=[0, 10])
    for eta in (-0.1, 1.1):
        with pytest.raises(ValueError, match="must lie in"):
            sample_ddim(lambda x, t: x, x, linear(10), Noise(0), eta=eta)
    with pytest.raises(ValueError, match="beta, posterior, between"):
        sample_ancestral(lambda x, t: x, x, linear(10), Noise(0), variance="large")
    for sampler in (sample_ancestral, sample_ddim):
        with pytest.raises(ValueError, match="no signal is left at T = 10"):
            sampler(lambda x, t: x, x, zero_terminal(linear(10)), Noise(0))
