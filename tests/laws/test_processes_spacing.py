"""Laws of the lists that samplers walk: their ends, their lengths, and the levels they leave."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.processes.learned import LearnedSNR
from refgen.processes.path import EDM, VE, VP, CosinePath, SigmoidPath, SubVP, log_snr
from refgen.processes.schedule import SCHEDULES, constant, cosine, linear, stride, zero_terminal
from refgen.processes.spacing import (
    SPACINGS,
    karras,
    leading,
    linspace,
    log_uniform,
    respaced,
    sections,
    times_on_path,
    times_on_schedule,
    trailing,
)
from refgen.samplers import sample_ancestral, sample_ddim

pytestmark = pytest.mark.tiny
LENGTHS = [1, 2, 3, 7, 50, 64, 101]
EVERY = [(T, steps) for T in LENGTHS for steps in range(1, T + 1)]
each_list = pytest.mark.parametrize("name", SPACINGS)


def falls(times):
    return all(t > s for t, s in pairwise(times))


def walk(schedule, times):
    """Return the times at which DDIM calls the network."""
    calls = []

    def predict(x, t):
        calls.append(t)
        return 0 * x

    sample_ddim(predict, np.ones((1, 1)), schedule, Noise(0), times=times)
    return calls


# Whole times


@each_list
def test_a_list_falls_to_0_in_as_many_steps_as_it_says(name):
    for T, steps in EVERY:
        times = SPACINGS[name](T, steps)
        assert len(times) == steps + 1, (T, steps)
        assert falls(times), (T, steps)
        assert times[-1] == 0
        assert times[0] <= T
        assert all(isinstance(t, int) for t in times)


@each_list
def test_where_a_list_begins_and_whether_it_passes_1(name):
    for T, steps in EVERY:
        times = SPACINGS[name](T, steps)
        begins = {"leading": 1 + (steps - 1) * (T // steps)}.get(name, T)
        passes = {
            "stride": 2 * steps > T,
            "trailing": 3 * steps > 2 * T,
            "leading": True,
            "linspace": steps > 1 or T == 1,
        }[name]
        assert times[0] == begins, (T, steps)
        assert (times[-2] == 1) == passes, (T, steps)


@each_list
def test_all_levels_is_every_level(name):
    for T in LENGTHS:
        assert SPACINGS[name](T, T) == tuple(range(T, -1, -1))


def test_lists_are_as_even_as_whole_numbers_allow():
    for T, steps in EVERY:
        exact = {
            "trailing": [i * T / steps for i in range(steps, 0, -1)],
            "linspace": [1 + (i - 1) * (T - 1) / max(steps - 1, 1) for i in range(steps, 0, -1)],
            "stride": [i * T / steps for i in range(steps, 0, -1)],
        }
        for name, bound in (("trailing", 0.5), ("linspace", 0.5), ("stride", 1.0)):
            if steps > 1:
                off = np.abs(np.array(SPACINGS[name](T, steps)[:-1]) - exact[name])
                assert off.max() <= bound + 1e-9, (name, T, steps)
        gaps = set(-np.diff(leading(T, steps)[:-1]))
        assert gaps <= {T // steps}


@each_list
def test_a_sampler_calls_the_network_once_a_step_of_a_list_from_T(name):
    schedule = cosine(40)
    for steps in range(1, 41):
        times = SPACINGS[name](40, steps)
        if times[0] == 40:
            assert walk(schedule, times) == list(times[:-1])


def test_a_list_that_begins_below_T_is_refused_by_a_sampler_or_walks_its_own_schedule():
    """The leading list starts from more signal than N(0, I) has; on its levels T is its first."""
    schedule, times = linear(1000), leading(1000, 10)
    assert times[0] == 901
    with pytest.raises(ValueError, match="from T = 1000 to 0"):
        walk(schedule, times)
    assert schedule.signal(901) > 2 * schedule.signal(1000)
    assert walk(respaced(schedule, times), range(10, -1, -1)) == list(range(10, 0, -1))


@each_list
@pytest.mark.parametrize("steps", [0, -1, 11])
def test_more_steps_than_levels_are_refused(name, steps):
    with pytest.raises(ValueError, match=r"1 \.\. 10"):
        SPACINGS[name](10, steps)


# Sections


@given(st.data())
def test_sections_are_visited_as_often_as_they_say(data):
    T = data.draw(st.integers(1, 120))
    parts = data.draw(st.integers(1, min(T, 5)))
    sizes = [T // parts + (i < T % parts) for i in range(parts)]
    counts = [data.draw(st.integers(1, size)) for size in sizes]
    times = sections(T, counts)
    assert times == sections(T, ",".join(map(str, counts)))
    assert falls(times)
    assert times[-2:] == (1, 0)
    assert len(times) == sum(counts) + 1
    edges = np.cumsum([1, *sizes])
    visited = np.array(times[:-1])
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        inside = visited[(visited >= low) & (visited < high)]
        assert len(inside) == count
        assert inside.min() == low
        if count > 1:
            assert inside.max() == high - 1
    assert (times[0] == T) == (counts[-1] > 1 or sizes[-1] == 1)


def test_sections_of_one_count_are_the_linspace_list():
    for T, steps in EVERY:
        if steps > 1:
            assert sections(T, [steps]) == linspace(T, steps)


def test_sections_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"section 2 of 3 has 100 .* 1 \.\. 100 of them, not 101"):
        sections(300, "10,101,20")
    with pytest.raises(ValueError, match="section 1 of 1"):
        sections(10, [0])
    with pytest.raises(ValueError, match="'10,15,20', not 'ten'"):
        sections(10, "ten")


# Noise over signal


@pytest.mark.parametrize("make", [karras, log_uniform])
@given(steps=st.integers(1, 60), last=st.floats(1e-3, 0.5), first=st.floats(1.0, 100.0))
def test_noise_levels_fall_from_first_through_last_to_0(make, steps, last, first):
    sigmas = make(steps, first, last)
    assert len(sigmas) == steps + 1
    assert falls(sigmas)
    assert (sigmas[0], sigmas[-1]) == (first, 0.0)
    assert steps == 1 or sigmas[-2] == last


def test_karras_levels_are_even_in_their_root_and_log_uniform_in_their_log():
    root = np.array(karras(18, 80.0, 0.002)[:-1]) ** (1 / 7)
    np.testing.assert_allclose(np.diff(root), (0.002 ** (1 / 7) - 80 ** (1 / 7)) / 17, rtol=1e-9)
    logs = np.log(log_uniform(18, 80.0, 0.002)[:-1])
    np.testing.assert_allclose(np.diff(logs), np.log(0.002 / 80) / 17, rtol=1e-9)
    straight = karras(5, 9.0, 1.0, rho=1.0)[:-1]
    np.testing.assert_allclose(straight, [9, 7, 5, 3, 1])
    np.testing.assert_allclose(
        karras(18, 80.0, 0.002, rho=1e6), log_uniform(18, 80.0, 0.002), rtol=1e-4
    )


def test_the_levels_of_edm_are_the_papers():
    """Eq. 5 as printed: (σ_max^{1/ρ} + i/(N−1) (σ_min^{1/ρ} − σ_max^{1/ρ}))^ρ, i = 0 .. N−1."""
    most, least, N = 80.0, 0.002, 18
    i = np.arange(N)
    printed = (most ** (1 / 7) + i / (N - 1) * (least ** (1 / 7) - most ** (1 / 7))) ** 7
    np.testing.assert_allclose(karras(N, most, least)[:-1], printed, rtol=1e-9)


def test_noise_levels_that_cannot_be_are_refused():
    for make in (karras, log_uniform):
        for steps, first, last in ((0, 2.0, 1.0), (3, 1.0, 2.0), (3, 1.0, 0.0)):
            with pytest.raises(ValueError, match="0 < last < first, steps ≥ 1"):
                make(steps, first, last)
    with pytest.raises(ValueError, match="rho is positive"):
        karras(3, 2.0, 1.0, rho=0.0)


# On paths and schedules


@pytest.mark.parametrize(
    "path", [VP(), SubVP(), EDM(), CosinePath(), CosinePath(0.008), SigmoidPath()], ids=str
)
@pytest.mark.parametrize("make", [karras, log_uniform])
def test_a_path_has_the_noise_over_signal_that_a_list_asks_for(path, make):
    for steps in (1, 2, 5, 40):
        sigmas = make(steps, 60.0, 0.02)
        times = times_on_path(path, sigmas)
        assert len(times) == steps + 1
        assert times[-1] == 0.0
        a, b, _, _ = path.levels(np.array(times))
        np.testing.assert_allclose(b / a, sigmas, rtol=1e-9, atol=1e-15)


def test_even_in_log_snr_is_even_in_log_snr():
    path = LearnedSNR(-9.0, 5.0)
    times = times_on_path(path, log_uniform(8, np.exp(2.5), np.exp(-4.5))[:-1])
    np.testing.assert_allclose(times, np.linspace(1, 0, 8), atol=1e-12)
    gaps = np.diff(
        [log_snr(CosinePath(), t) for t in times_on_path(CosinePath(), (9, 3, 1, 1 / 3))]
    )
    np.testing.assert_allclose(gaps, 2 * np.log(3), rtol=1e-12)


def test_a_path_that_begins_with_noise_ends_its_list_there():
    path = VE(0.01, 50.0)
    sigmas = karras(6, 50.0, 0.01)
    assert times_on_path(path, sigmas[:-1])[-1] == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ValueError, match="times must fall"):
        times_on_path(path, (50.0, 0.01, 0.0))
    with pytest.raises(ValueError, match="nowhere"):
        times_on_path(path, (60.0, 1.0, 0.0))


@pytest.mark.parametrize("make", [karras, log_uniform])
def test_a_schedule_is_visited_at_as_many_levels_as_there_are_sigmas(make):
    """For every step count from 1 to T, also where far fewer levels than asked lie so close."""
    for name in SCHEDULES:
        schedule = SCHEDULES[name](60)
        for steps in range(1, 61):
            times = times_on_schedule(schedule, make(steps, 1e6, 1e-3))
            assert len(times) == steps + 1
            assert falls(times)
            assert (times[0], times[-1]) == (60, 0)
            assert walk(schedule, times) == list(times[:-1])


def test_a_schedules_levels_are_the_nearest_ones_where_there_is_room():
    schedule = linear(1000)
    sigmas = log_uniform(7, 100.0, 0.02)
    times = times_on_schedule(schedule, sigmas)
    own = schedule.spread(np.arange(1, 1001)) / schedule.signal(np.arange(1, 1001))
    for t, sigma in zip(times[:-1], sigmas[:-1], strict=True):
        assert abs(np.log(own[t - 1] / sigma)) == np.abs(np.log(own / sigma)).min()


def test_sigmas_that_a_schedule_cannot_have_are_refused():
    schedule = linear(10)
    for sigmas in ((3.0, 1.0), (1.0, 3.0, 0.0)):
        with pytest.raises(ValueError, match="fall to 0"):
            times_on_schedule(schedule, sigmas)
    with pytest.raises(ValueError, match=r"1 \.\. 10 sampling steps, not 11"):
        times_on_schedule(schedule, karras(11, 80.0, 0.01))


# Fewer levels


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_respaced_schedule_has_the_levels_of_its_list(name):
    schedule = SCHEDULES[name](200)
    for times in (stride(200, 7), trailing(200, 33), leading(200, 20), sections(200, "9,4,2")):
        few = respaced(schedule, times)
        assert few.T == len(times) - 1
        np.testing.assert_allclose(few.alpha_bar, schedule.alpha_bar[list(times)[::-1]], rtol=1e-9)
    np.testing.assert_allclose(
        respaced(schedule, range(200, -1, -1)).beta, schedule.beta, rtol=1e-9
    )


def test_the_shortest_list_is_one_step():
    one = respaced(linear(10), (10, 0))
    assert (one.T, one.name) == (1, "linear at 1 of 10")
    assert one.beta[1] == pytest.approx(1 - linear(10).alpha_bar[10])


def test_respacing_twice_is_respacing_once():
    schedule = cosine(100)
    once = respaced(respaced(schedule, stride(100, 20)), stride(20, 5))
    np.testing.assert_allclose(once.alpha_bar, respaced(schedule, stride(100, 5)).alpha_bar)
    assert respaced(zero_terminal(schedule), stride(100, 5)).zero_terminal


def test_single_steps_on_the_respaced_schedule_are_strides_on_the_whole_one():
    """With the network told the list's time, and the noise of a step found at its time."""
    schedule, times = linear(200, 1e-3, 0.1), sections(200, "12,5")
    few, world = respaced(schedule, times), Gaussian(np.zeros(2), np.diag([0.5, 2.0]))
    x = Noise(0).normal((20, 2))

    def predict(x, t):
        return world.noise_mean(x, float(schedule.signal(t)), float(schedule.spread(t)))

    for variance in ("posterior", "beta"):
        asked = []
        whole = sample_ancestral(predict, x, schedule, Noise(1), times=times, variance=variance)

        def told(x, i, asked=asked):
            asked.append(times[len(times) - 1 - i])
            return predict(x, asked[-1])

        few_x = sample_ancestral(told, x, few, Renamed(Noise(1), times), variance=variance)
        np.testing.assert_allclose(few_x, whole, rtol=1e-9, atol=1e-9)
        assert asked == list(times[:-1])
    ddim = sample_ddim(predict, x, schedule, Noise(1), times=times)
    np.testing.assert_allclose(sample_ddim(told, x, few, Noise(1)), ddim, rtol=1e-9, atol=1e-9)


class Renamed:
    """A noise whose step i is the step of the list's i-th time from the end."""

    def __init__(self, noise, times):
        self.noise, self.times = noise, times

    def at(self, name, i):
        return self.noise.at(name, self.times[len(self.times) - 1 - i])


def test_respacing_refuses_what_is_no_walk_to_the_data():
    schedule = constant(10, 0.1)
    for times in ([10, 5], [11, 0], [5, 5, 0], [0], [3, 7, 0]):
        with pytest.raises(ValueError, match="times fall from at most T = 10 to 0"):
            respaced(schedule, times)
