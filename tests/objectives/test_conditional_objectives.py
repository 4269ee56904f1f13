"""Losses of a classifier of noise and of an autoencoder: gradients by witness, meanings by law."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, ops, tree
from refgen.exact import Mixture
from refgen.models.autoencoder import Autoencoder
from refgen.models.noisy_classifier import NoisyClassifier
from refgen.noise import Noise
from refgen.objectives.autoencoding import Autoencoding
from refgen.objectives.noisy_classification import NoisyClassification
from refgen.processes import cosine, linear

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)


def drawn(model, seed=0):
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), model.init(Noise(seed)))


def gap(forward, backward, params, seed):
    """Return the adjoint gap of a loss (N,) in its parameters."""
    rng = np.random.default_rng(seed + 1)
    terms, cache = forward(params)
    dloss = rng.normal(size=terms["loss"].shape)
    grads = backward(dloss, cache)
    names, tangents = (
        list(tree.flatten(params)),
        [rng.normal(size=a.shape) for a in tree.leaves(params)],
    )
    assert list(tree.flatten(grads)) == names

    def loss(*leaves):
        return forward(tree.unflatten(dict(zip(names, leaves, strict=True))))[0]["loss"]

    along = check.complex_step(loss, list(tree.leaves(params)), tangents)
    return check.adjoint_gap(tangents, list(tree.leaves(grads)), [dloss], [along])


@settings(max_examples=20)
@given(seed=seeds, shape=st.sampled_from([(2,), (4, 5, 1)]), classes=st.integers(2, 4))
def test_the_gradient_of_noisy_classification_is_its_adjoint(seed, shape, classes):
    model = NoisyClassifier(shape, classes, 4)
    objective, rng = NoisyClassification(model, cosine(20)), np.random.default_rng(seed)
    x, labels = rng.normal(size=(3, *shape)), rng.integers(0, classes, 3)
    params = drawn(model, seed)
    assert (
        gap(
            lambda p: objective.forward(p, x, labels, Noise(seed)),
            objective.backward,
            params,
            seed,
        )
        < 1e-12
    )


@settings(max_examples=20)
@given(
    seed=seeds,
    shape=st.sampled_from([(2,), (4, 5, 1)]),
    classes=st.integers(2, 4),
    t=st.integers(1, 20),
)
def test_a_guide_s_gradient_is_that_of_log_p_in_x(seed, shape, classes, t):
    """A sum over the batch in its place, or the loss's own sign, is far off."""
    model = NoisyClassifier(shape, classes, 4)
    schedule = cosine(20)
    objective, rng = NoisyClassification(model, schedule), np.random.default_rng(seed)
    params, x, labels = (
        drawn(model, seed),
        rng.normal(size=(3, *shape)),
        rng.integers(0, classes, 3),
    )
    levels = np.array([[schedule.signal(t), schedule.spread(t)]] * 3)

    def log_p(x):
        logits, _ = model.forward(params, x, levels)
        return logits[np.arange(3), labels] - np.log(np.sum(np.exp(logits), axis=1))

    found = objective.log_gradient(params, x, t, labels)
    tangent, weight = rng.normal(size=x.shape), rng.normal(size=3)
    along = check.complex_step(log_p, [x], [tangent])
    scaled = found * weight.reshape(-1, *[1] * len(shape))
    assert check.adjoint_gap([tangent], [scaled], [weight], [along]) < 1e-12


WORLD = Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [1.0]]), np.array([0.3, 0.4]))


class Bayes:
    """The exact classifier of the noised mixture, in the place of a network."""

    def forward(self, params, x, levels):
        out = [
            np.log(WORLD.responsibilities(row[None], *level))[0]
            for row, level in zip(x, levels, strict=True)
        ]
        return np.array(out), None


def test_the_loss_of_the_exact_classifier_is_the_entropy_that_noise_leaves():
    """The mean over t of H(label | x, t), by quadrature: levels or their order mixed up show."""
    schedule, count = linear(12, 0.02, 0.6), 4000
    objective = NoisyClassification(Bayes(), schedule)
    data = WORLD.sample(count, Noise(1).at("data"))
    labels = WORLD.labels(count, Noise(1).at("data"))
    terms, _ = objective.forward({}, data, labels, Noise(2))
    grid = np.linspace(-6, 6, 1201)[:, None]
    entropy = []
    for t in range(1, schedule.T + 1):
        a, b = float(schedule.signal(t)), float(schedule.spread(t))
        r = WORLD.responsibilities(grid, a, b)
        p = np.exp(WORLD.log_density(grid, a, b))
        entropy.append(-np.sum(p * np.sum(r * np.log(r), axis=1)) * 0.01)
    error = terms["loss"].std() / math.sqrt(count)
    assert abs(terms["loss"].mean() - np.mean(entropy)) < 3 * error
    assert abs(entropy[0] - np.mean(entropy)) > 10 * error  # what clean data alone would cost
    assert 0.6 < terms["right"].mean() < 1


def test_a_classifier_without_opinion_costs_the_log_of_the_classes():
    model = NoisyClassifier((3,), 5, 4)
    params = tree.map(np.zeros_like, model.init(Noise(0)))
    objective = NoisyClassification(model, cosine(10))
    terms, _ = objective.forward(params, np.ones((4, 3)), np.arange(4), Noise(0))
    np.testing.assert_allclose(terms["loss"], math.log(5), rtol=1e-12)


@settings(max_examples=15)
@given(seed=seeds, std=st.sampled_from([0.0, 0.1, 0.7]), var=st.floats(0.01, 1))
def test_the_gradient_of_autoencoding_is_its_adjoint(seed, std, var):
    model = Autoencoder((4, 4, 1), 2, 2, 3)
    objective = Autoencoding(model, std, var)
    x, params = np.random.default_rng(seed).normal(size=(3, 4, 4, 1)), drawn(model, seed)
    assert (
        gap(lambda p: objective.forward(p, x, Noise(seed)), objective.backward, params, seed)
        < 1e-12
    )


@given(seed=seeds, std=st.floats(0.05, 1.5))
def test_the_price_of_a_code_is_its_kl_from_the_prior(seed, std):
    """By the op that knows nothing of spheres. ½ D (s² − 1 − log s²) forgets the code's length."""
    model = Autoencoder((4, 4, 1), 2, 3, 3)
    x, params = np.random.default_rng(seed).normal(size=(3, 4, 4, 1)), drawn(model, seed)
    z = model.encode(params, x).reshape(3, -1)
    kl, _ = ops.gaussian_kl_forward(z, np.full_like(z, 2 * math.log(std)))
    terms, _ = Autoencoding(model, std).forward(params, x, Noise(seed))
    # the norm that lays codes on the sphere adds 1e-5 to their variance, and so shortens small ones
    np.testing.assert_allclose(terms["kl"], kl, rtol=1e-3)
    np.testing.assert_allclose(terms["loss"], terms["recon"] + terms["kl"], rtol=1e-12)


def test_what_is_reconstructed_is_the_shaken_code():
    model, var = Autoencoder((4, 4, 1), 2, 2, 3), 0.3
    params, x = drawn(model), np.random.default_rng(0).normal(size=(3, 4, 4, 1))
    for std in (0.0, 0.4):
        terms, _ = Autoencoding(model, std, var).forward(params, x, Noise(7))
        z = model.encode(params, x)
        y = model.decode(params, z + std * Noise(7).normal(z.shape))
        square = np.sum((x - y) ** 2, axis=(1, 2, 3))
        nll = 0.5 * (square / var + 16 * math.log(2 * math.pi * var))
        np.testing.assert_allclose(terms["recon"], nll, rtol=1e-10)
    assert Autoencoding(model, 0.0).kl == 0.0


@pytest.mark.parametrize(("std", "var"), [(-0.1, 1.0), (0.1, 0.0)])
def test_what_cannot_be_is_refused(std, var):
    with pytest.raises(ValueError, match="var > 0 and std ≥ 0"):
        Autoencoding(Autoencoder((4, 4, 1)), std, var)
