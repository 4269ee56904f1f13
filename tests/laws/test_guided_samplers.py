"""Where guided samplers end, against worlds whose labels are known exactly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from refgen.exact import Mixture
from refgen.noise import Noise
from refgen.processes import cosine, linear, stride
from refgen.processes.guidance import Guidance, at_sigma, by_classifier, classifier_free, levels_of
from refgen.processes.path import VP
from refgen.samplers import sample_ancestral, sample_ddim
from refgen.samplers.dpm_solver import sample_dpm_solver_2m
from refgen.samplers.edm import sample_edm
from refgen.samplers.probability_flow import sample_probability_flow
from tests.laws.labels import PARTS, POINTS, WORLD, answers, both_ways, log_posterior, told


def exact_share(label, gamma):
    """Return E p(label | x) under p(x) p(label | x)^γ / Z, by quadrature."""
    x = np.linspace(-6, 6, 4001)[:, None]
    log_p = WORLD.log_density(x) + gamma * log_posterior(x, 1.0, 0.0, label)
    weight = np.exp(log_p)
    return float(weight @ np.exp(log_posterior(x, 1.0, 0.0, label)) / weight.sum())


SCHEDULE, COUNT = cosine(250), 8_000
EVEN = [float(VP().time_of(lam)) for lam in np.linspace(-10, 9, 40)]  # in log a²/b²
SAMPLERS = {
    "ancestral": (
        levels_of(SCHEDULE),
        lambda p, x: sample_ancestral(p, x, SCHEDULE, Noise(5), variance="beta"),
    ),
    "ddim": (
        levels_of(SCHEDULE),
        lambda p, x: sample_ddim(p, x, SCHEDULE, Noise(5)),
    ),
    "probability flow": (
        levels_of(VP()),
        lambda p, x: sample_probability_flow(
            p, x, VP(), times=list(np.linspace(1, 1e-3, 40)), rule="heun"
        ),
    ),
    "dpm-solver": (
        levels_of(VP()),
        lambda p, x: sample_dpm_solver_2m(p, x, VP(), times=EVEN),
    ),
}


def shares(way, label, guidance, sampler, count=COUNT):
    """Return p(label | x) of each sample of a guided sampler."""
    levels, sample = SAMPLERS[sampler]
    x = Noise(3).at(sampler).normal((count, 1))
    if way == "classifier":  # the complex step costs more than the closed form that it proves

        def gradient(x, t):
            a, b = levels(t)
            return PARTS[label].score(x, a, b) - WORLD.score(x, a, b)

        def unlabelled(x, t):
            return WORLD.noise_mean(x, *levels(t))

        predict = by_classifier(unlabelled, gradient, guidance, levels)
    else:
        predict = both_ways(label, guidance, x, levels=levels)["free"]
    return np.exp(log_posterior(sample(predict, x), 1.0, 0.0, label))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("way", ["free", "classifier"])
def test_at_weight_1_samples_have_the_label_as_often_as_the_exact_density_says(way, sampler):
    """Within 3 standard errors; weight 0, or another convention's 1, is more than 10 away."""
    for label in (0, 1):
        found = shares(way, label, Guidance(1.0), sampler)
        error = found.std() / math.sqrt(COUNT)
        assert abs(found.mean() - exact_share(label, 1.0)) < 3 * error
        for wrong in (exact_share(label, 0.0), exact_share(label, 2.0)):
            assert abs(found.mean() - wrong) > 10 * error


def test_a_weight_of_one_convention_read_in_another_is_seen_in_the_samples():
    """Ho and Salimans' w = 0 is p(x | y). Taken for γ it forgets the label."""
    right = shares("free", 0, Guidance.of(0.0, "cfg"), "ddim")
    wrong = shares("free", 0, Guidance.of(0.0, "imagen"), "ddim")
    error = right.std() / math.sqrt(COUNT)
    assert abs(right.mean() - exact_share(0, 1.0)) < 3 * error
    assert abs(wrong.mean() - exact_share(0, 0.0)) < 3 * wrong.std() / math.sqrt(COUNT)
    assert abs(wrong.mean() - exact_share(0, 1.0)) > 30 * error


def test_a_larger_weight_goes_further_though_not_to_the_tilted_density():
    """Only at γ = 0 and 1 are the levels of the tilted density noised versions of one another."""
    found = [
        shares("free", 0, Guidance(gamma), "probability flow") for gamma in (0.0, 1.0, 2.0, 4.0)
    ]
    means = [f.mean() for f in found]
    assert means == sorted(means)
    error = found[3].std() / math.sqrt(COUNT)
    assert abs(means[3] - exact_share(0, 4.0)) > 20 * error


def test_a_denoiser_that_walks_in_sigma_is_guided_too():
    """EDM's sampler asks for the data; γ = 1 through both wrappers ends in the class."""
    levels = at_sigma
    predict, x = answers("data", levels), 20 * Noise(1).normal((4000, 1))
    sigmas = [*np.geomspace(20, 1e-2, 25), 0.0]
    names, nothing = told(1, x)
    free = classifier_free(predict, names, nothing, Guidance(1.0), levels)
    found = np.exp(log_posterior(sample_edm(free, x, sigmas, Noise(0)), 1.0, 0.0, 1))
    assert abs(found.mean() - exact_share(1, 1.0)) < 3 * found.std() / math.sqrt(4000)


class OneLabel:
    """Everything ~ N(0, 1), the label's own part of it ~ N(0.8, 0.25): guidance is affine.

    In u = σ² the guided score is −((1 − γ) x / (s + u) + γ (x − m) / (v + u)), and the equations
    of a sampler's mean and variance are linear. They are integrated here from u = ∞ to 0.
    """

    s, v, m = 1.0, 0.25, 0.8

    def tilted(self, gamma):
        """Return mean and variance of p(x) p(y | x)^γ / Z: precisions add up."""
        precision = (1 - gamma) / self.s + gamma / self.v
        return gamma * self.m / self.v / precision, 1 / precision

    def ended(self, gamma, stochastic):
        """Return mean and variance of the samples of the flow, or of the reverse SDE.

        With h = (s + u)^(1 − γ) (v + u)^γ the flow ends in variance h(0), a geometric mean where
        the tilted density has a harmonic one; the SDE in h(0)² ∫ du / h².
        """

        def h(u, power=1.0):
            return ((self.s + u) ** (1 - gamma) * (self.v + u) ** gamma) ** power

        rate = 1.0 if stochastic else 0.5
        drift = quad(lambda u: 1 / ((self.v + u) * h(u, rate)), 0, np.inf)[0]
        mean = rate * gamma * self.m * h(0, rate) * drift
        return mean, h(0, 2) * quad(lambda u: h(u, -2), 0, np.inf)[0] if stochastic else h(0)

    def predict(self, gamma, schedule, count):
        """Return the exact guided noise of so many examples."""
        alone, levels = np.ones(1), levels_of(schedule)
        whole = Mixture(alone, np.zeros((1, 1)), self.s * alone)
        part = Mixture(alone, np.full((1, 1), self.m), self.v * alone)

        def answers(x, t, told):
            both = [world.noise_mean(x, *levels(t)) for world in (whole, part)]
            return np.where(told[:, None], both[1], both[0])

        yes, no = np.ones(count, bool), np.zeros(count, bool)
        return classifier_free(answers, yes, no, Guidance(gamma), levels)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.0])
def test_guided_ddim_narrows_a_gaussian_to_the_geometric_mean_of_the_variances(gamma):
    """s^(1 − γ) v^γ. At γ = 2 it is 0.063 around 1.10; the tilted density has 0.14 around 0.91."""
    world, schedule = OneLabel(), cosine(3000)
    start = np.array([[0.0], [1.0]])  # an affine map is known by two points
    at_0, at_1 = sample_ddim(world.predict(gamma, schedule, 2), start, schedule, Noise(0))[:, 0]
    mean, var = world.ended(gamma, stochastic=False)
    assert at_0 == pytest.approx(mean, abs=1e-3)
    assert (at_1 - at_0) ** 2 == pytest.approx(var, rel=5e-3)
    tilted = world.tilted(gamma)
    if gamma in (0, 1):
        assert (mean, var) == pytest.approx(tilted, abs=1e-9)
    else:
        assert abs(var / tilted[1] - 1) > 0.2
        assert abs(mean - tilted[0]) > 0.1


@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_a_guided_ancestral_walk_ends_between_ddim_and_the_tilted_density(
    variance,
):
    """At γ = 2: N(1, 7/64), between DDIM's variance, 1/16, and that of the tilted density, 1/7."""
    world, schedule, count = OneLabel(), cosine(500), 8000
    mean, var = world.ended(2.0, stochastic=True)
    assert (mean, var) == pytest.approx((1.0, 7 / 64))
    start, predict = Noise(3).normal((count, 1)), world.predict(2.0, schedule, count)
    x = sample_ancestral(predict, start, schedule, Noise(1), variance=variance)
    assert abs(x.mean() - mean) < 4 * math.sqrt(var / count)
    assert abs(x.var() / var - 1) < 4 * math.sqrt(2 / count)
    flow, tilted = world.ended(2.0, stochastic=False), world.tilted(2.0)
    assert flow[1] < var < tilted[1]
    assert tilted[0] < mean < flow[0]


@given(
    steps=st.integers(1, 30), gamma=st.sampled_from([0.0, 1.0, 3.0]), low=st.sampled_from([0, 1])
)
def test_a_guided_sampler_calls_the_network_once_a_step(steps, gamma, low):
    schedule, sizes = linear(30), []

    def predict(x, t, labels):
        sizes.append(len(x))
        return 0 * x

    names, nothing = told(0)
    guidance = Guidance(gamma, low=float(low))
    guided_predict = classifier_free(predict, names, nothing, guidance, levels_of(schedule))
    times = stride(30, steps)
    sample_ddim(guided_predict, POINTS, schedule, Noise(0), times=times)
    twice = [guidance.at(*levels_of(schedule)(t)) not in (0, 1) for t in times[:-1]]
    assert sizes == [26 if both else 13 for both in twice]
