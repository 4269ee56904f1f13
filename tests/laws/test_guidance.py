"""Laws of guidance in a world whose labels, scores and tilted densities are known exactly."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check
from refgen.processes import cosine
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
from tests.laws.labels import (
    NULL,
    PARTS,
    POINTS,
    WORLD,
    answers,
    both_ways,
    log_gradient,
    log_posterior,
    told,
)

LEVEL = (0.8, 0.6)


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
