"""Three losses for one score: where the score is known their gradients agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, tree
from refgen.exact import Gaussian, Mixture
from refgen.layers import SelfAttention
from refgen.models import TimeMLP, mlp
from refgen.noise import Noise
from refgen.objectives.denoising import Denoising, UniformTimes
from refgen.objectives.score_matching import (
    ExplicitScoreMatching,
    OverNoise,
    SlicedScoreMatching,
    Timeless,
    denoising_score_matching,
)
from refgen.processes.discrete import of_noise_levels, of_schedule
from refgen.processes.path import VP
from refgen.processes.schedule import cosine, geometric
from tests.objectives.models import Best, column, outer, signs, some, witnessed

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)
WORLD = Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.1, 0.3]))
PLANE = Gaussian(np.array([0.3, -0.2]), np.array([[0.6, 0.2], [0.2, 0.4]]))
SIGMA = geometric(5, 2.0, 0.1)


def line(sigma=0.0, count=400):
    """Return points of the mixture and their weights: quadrature of any smooth expectation."""
    x, wx = np.linspace(-6, 6, count), None
    wx = np.exp(WORLD.log_density(x[:, None], 1.0, sigma)) * (x[1] - x[0])
    return x[:, None], wx


def gradient(forward, backward, params, weights):
    """Return the gradient of a weighted sum of losses as one vector."""
    _, cache = forward(params)
    return np.concatenate([g.ravel() for g in tree.leaves(backward(weights, cache))])


def test_denoising_and_explicit_losses_have_one_gradient_on_average():
    """Over the mixture by quadrature; the losses themselves differ by a variance."""
    network = TimeMLP(1, 6, 1, embedding=4)
    loss = denoising_score_matching(network, SIGMA)
    explicit = ExplicitScoreMatching(network, loss.path, WORLD)
    data, weights = line(count=120)
    drawn = np.linspace(-9, 9, 120)
    shares = np.exp(-0.5 * drawn**2) / np.sqrt(2 * np.pi) * (drawn[1] - drawn[0])
    data, drawn, weights = outer(data[:, 0], weights, drawn, shares)
    data, drawn = data[:, None], drawn[:, None]
    for t in (2, 5):
        times, apart = np.full(len(data), t), []
        for params in (some(network, Noise(0)), some(network, Noise(1))):
            pair = [
                gradient(
                    lambda p, one=one, times=times: one.value(p, data, drawn, times),
                    one.backward,
                    params,
                    weights,
                )
                for one in (loss, explicit)
            ]
            np.testing.assert_allclose(*pair, rtol=1e-7, atol=1e-9 * np.abs(pair[1]).max())
            values = [
                weights @ one.value(params, data, drawn, times)[0]["loss"]
                for one in (loss, explicit)
            ]
            apart.append(values[0] - values[1])
        assert apart[0] == pytest.approx(apart[1], rel=1e-6)
        assert apart[0] > 0.01  # E Var[noise | x]: what no network can know


@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_implicit_and_explicit_losses_have_one_gradient_on_average(sigma):
    """Integration by parts; the losses differ by E ‖∇ log q‖², whatever the network."""
    layer = mlp((1, 6, 5, 1), "tanh")
    implicit = SlicedScoreMatching(layer, kind="axes")
    x, weights = line(sigma, 3000)
    exact = WORLD.score(x, 1.0, sigma)
    apart = []
    for seed in (0, 1):
        params = some(layer, Noise(seed))
        ones = [np.ones_like(x)]
        found = gradient(
            lambda p, v=ones: implicit.value(p, x, v), implicit.backward, params, weights
        )
        s, cache = layer.forward(params, x)
        _, grads = layer.backward(2 * weights[:, None] * (s - exact), cache)
        known = np.concatenate([g.ravel() for g in tree.leaves(grads)])
        np.testing.assert_allclose(found, known, rtol=1e-6, atol=1e-8 * np.abs(known).max())
        value = weights @ implicit.value(params, x, ones)[0]["loss"]
        apart.append(value - weights @ np.sum((s - exact) ** 2, axis=1))
    energy = weights @ np.sum(exact**2, axis=1)
    np.testing.assert_allclose(apart, -energy, rtol=1e-8)


@given(seed=seeds)
def test_the_mean_over_all_signs_is_the_implicit_loss(seed):
    """E v vᵀ = I exactly over the 2^D signs: value and gradient."""
    layer, rng = mlp((3, 5, 3), "softplus"), np.random.default_rng(seed)
    params, x = some(layer, Noise(seed)), rng.normal(size=(4, 3))
    sliced, implicit = SlicedScoreMatching(layer, 8), SlicedScoreMatching(layer, kind="axes")
    along = [v + 0 * x for v in signs(3)]
    terms, cache = sliced.value(params, x, along)
    exact, exact_cache = implicit.forward(params, x, Noise(0))
    np.testing.assert_allclose(terms["loss"], exact["loss"], rtol=1e-10, atol=1e-12)
    dloss = rng.normal(size=4)
    pair = sliced.backward(dloss, cache), implicit.backward(dloss, exact_cache)
    for a, b in zip(*map(tree.leaves, pair), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_the_implicit_loss_has_the_trace_of_a_dense_jacobian():
    layer = mlp((4, 6, 4), "silu")
    params, x = some(layer, Noise(0)), np.random.default_rng(0).normal(size=(3, 4))
    found = SlicedScoreMatching(layer, kind="axes").forward(params, x, Noise(0))[0]["loss"]
    for i in range(3):
        dense = check.jacobian(lambda v: layer.forward(params, v[None])[0][0], x[i])
        s = layer.forward(params, x[i][None])[0]
        assert found[i] == pytest.approx(np.sum(s * s) + 2 * np.trace(dense), rel=1e-12)


@pytest.mark.parametrize("kind", ["signs", "normal", "axes"])
@pytest.mark.parametrize("sigma", [0.0, 0.4])
@given(seed=seeds, slices=st.integers(1, 3))
def test_the_gradient_of_a_sliced_loss_is_its_adjoint(kind, sigma, seed, slices):
    """A tangent's own gradient in the parameters is half of it."""
    layer, rng = mlp((3, 5, 3), "tanh"), np.random.default_rng(seed)
    loss = SlicedScoreMatching(layer, slices, kind, sigma)
    params, data = some(layer, Noise(seed)), rng.normal(size=(4, 3))
    assert witnessed(loss, params, data, Noise(seed), rng) < 1e-12


@given(seed=seeds)
def test_the_gradients_of_denoising_and_explicit_losses_are_their_adjoints(seed):
    network, rng = TimeMLP(2, 6, 1, embedding=4), np.random.default_rng(seed)
    path = of_noise_levels(SIGMA)
    for loss in (
        denoising_score_matching(OverNoise(network, path), SIGMA),
        ExplicitScoreMatching(OverNoise(network, path), path, PLANE),
    ):
        params, data = some(network, Noise(seed)), rng.normal(size=(4, 2))
        assert witnessed(loss, params, data, Noise(seed), rng) < 1e-12


def test_the_denoising_loss_is_the_lectures_weighted_by_the_noise():
    """σ² ‖s + e/σ‖², with the levels told from the smallest, t = 1, to the largest."""
    rng = np.random.default_rng(0)
    layer = mlp((2, 5, 2))
    loss = denoising_score_matching(Timeless(layer), SIGMA)
    params, data, drawn = some(layer, Noise(0)), rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    sigma, t = SIGMA[::-1], np.arange(1, 6)
    s = layer.forward(params, data + sigma[:, None] * drawn)[0]
    exact = sigma**2 * np.sum((s + drawn / sigma[:, None]) ** 2, axis=1)
    found = loss.value(params, data, drawn, t)[0]["loss"]
    np.testing.assert_allclose(found, exact, rtol=1e-12)


@pytest.mark.parametrize("path", [of_noise_levels(SIGMA), of_schedule(cosine(9)), VP()])
def test_both_losses_see_the_same_points_and_the_exact_score_has_no_explicit_loss(path):
    clock = 1.0 if hasattr(path, "T") else 1000.0
    best = Best(WORLD, path, "score", clock)
    data = WORLD.sample(200, Noise(0))
    explicit = ExplicitScoreMatching(best, path, WORLD)
    times = UniformTimes()
    denoising = Denoising(best, path, "score", times=times)
    assert np.max(explicit.forward({}, data, Noise(1))[0]["loss"]) < 1e-20
    floor = denoising.forward({}, data, Noise(1))[0]["loss"]
    assert 0.05 < floor.mean() < 1  # E Var[noise | x], and of noise alone it is 1

    class Nothing:
        def forward(self, params, x, t):
            seen.append((x, t))
            return 0 * x, None

    seen = []
    ExplicitScoreMatching(Nothing(), path, WORLD).forward({}, data, Noise(2))
    Denoising(Nothing(), path, "score").forward({}, data, Noise(2))
    for a, b in zip(*seen, strict=True):
        np.testing.assert_allclose(a, b)


def test_a_network_over_its_noise_is_the_noise_predictor_by_another_name():
    """The score of −F/b is the noise F: one loss, one gradient."""
    network, path = TimeMLP(2, 6, 1, embedding=4), of_noise_levels(SIGMA)
    params, data = some(network, Noise(0)), np.random.default_rng(0).normal(size=(6, 2))
    negative = tree.map(lambda a: a, params)
    negative["out"] = tree.map(lambda a: -a, params["out"])
    score = Denoising(OverNoise(network, path), path, "score")
    noise = Denoising(network, path, "noise")
    a = score.forward(negative, data, Noise(1))[0]["loss"]
    b = noise.forward(params, data, Noise(1))[0]["loss"]
    np.testing.assert_allclose(a, b, rtol=1e-12)
    x, t = data, np.arange(1, 6)[[0, 1, 2, 3, 4, 4]]
    np.testing.assert_allclose(
        score.predict(negative, x, t, "noise"), noise.predict(params, x, t), rtol=1e-12
    )
    assert column(t, x).shape == (6, 1)


def test_a_gaussians_score_is_where_the_sliced_gradient_vanishes():
    """With s = −P (x − m), P the precision, over exact moments nothing moves it."""
    layer = mlp((2, 2))  # one affine map
    choice = signs(2)
    root = np.linalg.cholesky(PLANE.cov)
    x = PLANE.mean + choice @ root.T
    precision = np.linalg.inv(PLANE.cov)
    params = {"dense0": {"w": -precision, "b": precision @ PLANE.mean}}
    loss = SlicedScoreMatching(layer, kind="axes")

    def moved(p):
        _, cache = loss.forward(p, x, Noise(0))
        return np.concatenate(
            [g.ravel() for g in tree.leaves(loss.backward(np.full(4, 0.25), cache))]
        )

    assert np.max(np.abs(moved(params))) < 1e-12
    assert np.max(np.abs(moved(tree.map(lambda a: 1.1 * a, params)))) > 0.1


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="signs, normal, axes"):
        SlicedScoreMatching(mlp((2, 2)), kind="rademacher")
    with pytest.raises(ValueError, match="1 or more"):
        SlicedScoreMatching(mlp((2, 2)), 0)
    attention = SelfAttention(4, 2, 2)
    with pytest.raises(TypeError, match="no second order"):
        SlicedScoreMatching(attention).value(
            attention.init(Noise(0)), np.ones((1, 3, 4)), [np.ones((1, 3, 4))]
        )


def test_float32_stays_float32():
    layer = mlp((2, 4, 2))
    params = tree.map(lambda a: a.astype(np.float32), some(layer, Noise(0)))
    for loss in (SlicedScoreMatching(layer), SlicedScoreMatching(layer, kind="axes", sigma=0.1)):
        terms, cache = loss.forward(params, np.ones((3, 2), np.float32), Noise(0))
        grads = loss.backward(np.ones(3, np.float32), cache)
        assert {a.dtype for a in [terms["loss"], *tree.leaves(grads)]} == {np.dtype(np.float32)}
