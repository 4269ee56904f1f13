"""Laws of guidance in a world whose labels, scores and tilted densities are known exactly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from refgen import check
from refgen.exact import Mixture
from refgen.noise import Noise
from refgen.processes import cosine, linear, stride
from refgen.processes.guidance import (
    CONVENTIONS,
    Guidance,
    at_sigma,
    by_classifier,
    classifier_free,
    gamma_of,
    guided,
    implied_gradient,
    levels_of,
    weight_of,
)
from refgen.processes.path import EDM, VP
from refgen.samplers import sample_ancestral, sample_ddim
from refgen.samplers.dpm_solver import sample_dpm_solver_2m
from refgen.samplers.edm import sample_edm
from refgen.samplers.probability_flow import sample_probability_flow

# three components, two labels: the first has two of them, and the classes overlap
WORLD = Mixture(
    np.array([0.3, 0.2, 0.5]), np.array([[-1.2], [1.9], [0.5]]), np.array([0.25, 0.09, 0.36])
)
CLASSES = ([0, 1], [2])
NULL = len(CLASSES)
PARTS = [*(WORLD.components(members) for members in CLASSES), WORLD]
LEVEL = (0.8, 0.6)
POINTS = np.linspace(-3, 3, 13)[:, None]


def answers(kind="noise", levels=lambda t: t):
    """Return the exact prediction of a kind, told labels; t is (a, b) unless levels say more."""

    def predict(x, t, labels):
        a, b = levels(t)
        out = np.empty_like(x)
        for label in np.unique(labels):
            chosen = labels == label
            part = PARTS[label]
            how = {"noise": part.noise_mean, "data": part.data_mean, "score": part.score}[kind]
            out[chosen] = how(x[chosen], a, b)
        return out

    return predict


def log_posterior(x, a, b, label):
    """Return log p(label | x) by Bayes' rule over the components."""
    return np.log(np.sum(WORLD.responsibilities(x, a, b)[:, CLASSES[label]], axis=1))


def log_gradient(label, levels=lambda t: t):
    """Return ∇ log p(label | x), differentiated without the use of any score."""

    def gradient(x, t):
        a, b = levels(t)
        return check.complex_step(
            lambda y: log_posterior(y, a, b, label)[:, None], [x], [np.ones_like(x)]
        )

    return gradient


def told(label, x=POINTS):
    return np.full(len(x), label), np.full(len(x), NULL)


def both_ways(label, guidance, x=POINTS, kind="noise", levels=lambda t: t):
    """Return the two guided predictors of a label."""
    predict = answers(kind, levels)
    names, nothing = told(label, x)

    def unlabelled(x, t):
        return predict(x, t, np.full(len(x), NULL))

    return {
        "free": classifier_free(predict, names, nothing, guidance, levels),
        "classifier": by_classifier(
            unlabelled, log_gradient(label, levels), guidance, levels, kind=kind
        ),
    }


@pytest.mark.parametrize("way", ["free", "classifier"])
@given(
    gamma=st.floats(-1, 8),
    label=st.integers(0, 1),
    angle=st.floats(0.05, 1.5),
)
def test_the_guided_score_is_the_gradient_of_the_tilted_density(way, gamma, label, angle):
    """∇ log p(x) p(y | x)^γ, by a complex step. γ − 1 or −γ in γ's place is far off."""
    a, b = math.cos(angle), math.sin(angle)
    found = both_ways(label, Guidance(gamma))[way](POINTS, (a, b))

    def tilted(x):
        return (WORLD.log_density(x, a, b) + gamma * log_posterior(x, a, b, label))[:, None]

    exact = check.complex_step(tilted, [POINTS], [np.ones_like(POINTS)])
    np.testing.assert_allclose(-found / b, exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max())


@pytest.mark.parametrize("way", ["free", "classifier"])
def test_weight_0_forgets_the_label_and_weight_1_is_the_answer_with_it(way):
    for label in (0, 1):
        for gamma, part in ((0.0, WORLD), (1.0, PARTS[label])):
            found = both_ways(label, Guidance(gamma))[way](POINTS, LEVEL)
            np.testing.assert_allclose(found, part.noise_mean(POINTS, *LEVEL), atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.5, -0.5])
@pytest.mark.parametrize("kind", ["noise", "score", "data"])
def test_both_ways_are_one_in_every_kind_of_prediction(kind, gamma):
    """For data the factor is b²/a: with b²/a² or b, or the sign of the noise, this fails."""
    ways = both_ways(1, Guidance(gamma), kind=kind)
    free, classifier = (ways[name](POINTS, LEVEL) for name in ("free", "classifier"))
    np.testing.assert_allclose(free, classifier, atol=1e-11)
    a, b = LEVEL
    noise = both_ways(1, Guidance(gamma))["free"](POINTS, LEVEL)
    same = {"noise": noise, "score": -noise / b, "data": (POINTS - b * noise) / a}[kind]
    np.testing.assert_allclose(free, same, atol=1e-11)


def test_two_answers_of_a_network_imply_a_classifier():
    x, (a, b) = POINTS, LEVEL
    noise_hat, null = PARTS[0].noise_mean(x, a, b), WORLD.noise_mean(x, a, b)
    np.testing.assert_allclose(
        implied_gradient(noise_hat, null, b), log_gradient(0)(x, LEVEL), atol=1e-11
    )


def test_the_answer_without_label_is_the_mean_over_the_labels_that_x_may_have():
    """What label dropout teaches: weights p(y | x), not the shares of the classes."""
    a, b = LEVEL
    posterior = np.exp([log_posterior(POINTS, a, b, y) for y in (0, 1)])[..., None]
    by_label = np.stack([PARTS[y].noise_mean(POINTS, a, b) for y in (0, 1)])
    null = WORLD.noise_mean(POINTS, a, b)
    np.testing.assert_allclose(np.sum(posterior * by_label, axis=0), null, atol=1e-12)
    assert np.abs(np.mean(by_label, axis=0) - null).max() > 0.1


@given(w=st.floats(-2, 9))
def test_the_three_conventions_say_the_same_of_the_two_answers(w):
    """As they are printed: lecture 0, lecture 3 and lecture 4 / Imagen."""
    labelled, null = (part.noise_mean(POINTS, *LEVEL) for part in (PARTS[0], WORLD))
    gamma = gamma_of(w, "cfg")
    w4 = weight_of(gamma, "imagen")
    lecture_0 = (1 + w) * labelled - w * null
    lecture_3 = gamma * labelled + (1 - gamma) * null
    lecture_4 = null + w4 * (labelled - null)
    found = guided(labelled, null, gamma)
    for printed in (lecture_0, lecture_3, lecture_4):
        np.testing.assert_allclose(found, printed, atol=1e-11 * (1 + abs(w)))
    for name in CONVENTIONS:
        assert weight_of(gamma_of(w, name), name) == pytest.approx(w, abs=1e-12)
    assert Guidance.of(w, "cfg") == Guidance.of(1 + w, "imagen") == Guidance(1 + w)
    taken_for_gamma = guided(labelled, null, w)  # the number of one convention in another
    one = np.abs(labelled - null).max()
    assert np.abs(taken_for_gamma - found).max() == pytest.approx(one, rel=1e-6)


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
    assert var == pytest.approx(world.s ** (1 - gamma) * world.v**gamma)
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


def test_guidance_in_an_interval_is_the_weight_inside_and_1_outside():
    guidance = Guidance(5.0, low=0.5, high=2.0)
    assert [guidance.at(1.0, s) for s in (0.4, 0.5, 0.51, 2.0, 2.1)] == [1.0, 1.0, 5.0, 5.0, 1.0]
    assert guidance.at(0.0, 1.0) == 1.0
    assert Guidance(5.0).at(0.0, 1.0) == 5.0
    for b in (0.3, 0.75, 0.95):
        level = (math.sqrt(1 - b * b), b)
        inside = 0.5 < b / level[0] <= 2.0
        for way, predict in both_ways(0, guidance).items():
            exact = both_ways(0, Guidance(5.0 if inside else 1.0))[way](POINTS, level)
            np.testing.assert_allclose(predict(POINTS, level), exact, atol=1e-12)


@pytest.mark.parametrize(("gamma", "size"), [(0.0, 13), (1.0, 13), (3.0, 26), (-1.0, 26)])
def test_one_answer_is_asked_for_where_one_is_enough(gamma, size):
    """Both answers: one call with twice the examples; γ = 0 and 1: half of that."""
    calls = []

    def predict(x, t, labels):
        calls.append((len(x), set(labels)))
        return answers()(x, t, labels)

    names, nothing = told(1)
    found = classifier_free(predict, names, nothing, Guidance(gamma), lambda t: t)(POINTS, LEVEL)
    assert [n for n, _ in calls] == [size]
    if size == 13:
        assert calls[0][1] == ({1} if gamma else {NULL})
    apart = (answers()(POINTS, LEVEL, labels) for labels in (names, nothing))
    np.testing.assert_allclose(found, guided(*apart, gamma), atol=1e-14)


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


def test_a_classifier_is_not_asked_where_it_does_not_count():
    def never(x, t):
        raise AssertionError("asked for a gradient that is multiplied by 0")

    predict = by_classifier(lambda x, t: x, never, Guidance(0.0), lambda t: t)
    assert np.array_equal(predict(POINTS, LEVEL), POINTS)


def test_levels_are_those_of_the_process():
    schedule, path = cosine(20), VP()
    for t in (1, 7, 20):
        a, b = levels_of(schedule)(t)
        assert (a * a, a * a + b * b) == (pytest.approx(schedule.alpha_bar[t]), pytest.approx(1))
    a, b = levels_of(path)(0.3)
    assert (a, b) == (float(path.levels(0.3).a), float(path.levels(0.3).b))
    assert at_sigma(2.5) == (1.0, 2.5)
    assert levels_of(EDM(4.0))(0.5) == (1.0, 2.0)


def test_a_denoiser_that_walks_in_sigma_is_guided_too():
    """EDM's sampler asks for the data; γ = 1 through both wrappers ends in the class."""
    levels = at_sigma
    predict, x = answers("data", levels), 20 * Noise(1).normal((4000, 1))
    sigmas = [*np.geomspace(20, 1e-2, 25), 0.0]
    names, nothing = told(1, x)
    free = classifier_free(predict, names, nothing, Guidance(1.0), levels)
    found = np.exp(log_posterior(sample_edm(free, x, sigmas, Noise(0)), 1.0, 0.0, 1))
    assert abs(found.mean() - exact_share(1, 1.0)) < 3 * found.std() / math.sqrt(4000)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: gamma_of(1.0, "paper"), "gamma, imagen, cfg"),
        (lambda: weight_of(1.0, "w"), "unknown convention 'w'"),
        (lambda: Guidance(math.inf), "finite"),
        (lambda: Guidance(1.0, low=2.0, high=2.0), "low < high"),
        (lambda: Guidance(1.0, low=-1.0), "0 ≤ low"),
        (lambda: by_classifier(answers(), answers(), Guidance(), at_sigma, kind="v"), "not 'v'"),
        (
            lambda: classifier_free(answers(), np.zeros(3), np.zeros(2), Guidance(), at_sigma),
            "must be alike",
        ),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
