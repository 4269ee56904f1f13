"""An energy: its score, its constant, and both ways to teach it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, tree
from refgen.exact import Mixture
from refgen.models import mlp
from refgen.noise import Noise
from refgen.objectives.ebm import Energy, EnergyLikelihood, EnergyScoreMatching
from tests.objectives.models import outer, some, witness, witnessed

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)
WORLD = Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.1, 0.3]))


@given(seed=seeds, dim=st.integers(1, 3))
def test_the_score_is_the_gradient_of_the_log_density(seed, dim):
    energy, rng = Energy(mlp((dim, 6, 1), "softplus"), 2.0), np.random.default_rng(seed)
    params, x = some(energy, Noise(seed)), rng.normal(size=(4, dim))
    along = rng.normal(size=x.shape)
    slope = check.complex_step(lambda x: energy.log_unnormalised(params, x)[0], [x], [along])
    found = np.sum(energy.score(params, x)[0] * along, axis=1)
    np.testing.assert_allclose(found, slope, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dim", [1, 2])
def test_the_constant_of_a_tilted_gaussian_is_known(dim):
    """With f = ⟨w, x⟩ + b on N(0, V): Z = (2πV)^(D/2) exp(b + ½ V |w|²)."""
    energy = Energy(mlp((dim, 1)), 0.8)
    w = np.array([[0.5], [-1.1]])[:dim]
    params = {"dense0": {"w": w, "b": np.array([0.3])}}
    loss = EnergyLikelihood(energy, dim, points=200)
    exact = 0.5 * dim * np.log(2 * np.pi * 0.8) + 0.3 + 0.4 * np.sum(w * w)
    log_z, (p, _) = loss.log_constant(params, w)
    assert log_z == pytest.approx(exact, rel=1e-12)
    np.testing.assert_allclose(p @ loss.grid, 0.8 * w[:, 0], rtol=1e-10)
    x = np.random.default_rng(0).normal(size=(5, dim))
    nll = loss.forward(params, x)[0]["loss"]
    square = np.sum((x - 0.8 * w[:, 0]) ** 2, axis=1)
    np.testing.assert_allclose(nll, 0.5 * square / 0.8 + 0.5 * dim * np.log(2 * np.pi * 0.8))


def test_the_likelihoods_gradient_pushes_at_the_data_and_pulls_at_the_model():
    """E_data ∇f − E_model ∇f: for f = w x + b that is the difference of two known means."""
    energy = Energy(mlp((1, 1)), 0.8)
    params = {"dense0": {"w": np.array([[0.5]]), "b": np.array([0.3])}}
    x = np.array([[0.2], [1.4], [-0.5]])
    loss = EnergyLikelihood(energy)
    _, cache = loss.forward(params, x)
    grads = loss.backward(np.full(3, 1 / 3), cache)
    assert grads["dense0"]["w"][0, 0] == pytest.approx(0.8 * 0.5 - x.mean(), rel=1e-12)
    assert grads["dense0"]["b"][0] == pytest.approx(0, abs=1e-12)  # a constant changes nothing


@given(seed=seeds, dim=st.integers(1, 2))
def test_the_gradient_of_the_likelihood_is_its_adjoint(seed, dim):
    loss = EnergyLikelihood(Energy(mlp((dim, 6, 1), "tanh"), 1.0), dim, -6.0, 6.0, 40)
    rng = np.random.default_rng(seed)
    params, data = some(loss.energy, Noise(seed)), rng.normal(size=(4, dim))
    assert witnessed(loss, params, data, Noise(seed), rng) < 1e-12


@given(seed=seeds, dim=st.integers(1, 3), base=st.sampled_from([1.0, np.inf]))
def test_the_gradient_of_the_denoising_loss_is_its_adjoint(seed, dim, base):
    """A gradient of a gradient, by one tangent."""
    loss = EnergyScoreMatching(Energy(mlp((dim, 6, 5, 1), "softplus"), base), 0.4)
    rng = np.random.default_rng(seed)
    params, data = some(loss.energy, Noise(seed)), rng.normal(size=(4, dim))
    drawn = rng.normal(size=data.shape)

    def forward(p):
        terms, cache = loss.value(p, data, drawn)
        return terms["loss"], cache

    def backward(dloss, cache):
        grads = loss.backward(dloss, cache)
        return grads

    assert witness(forward, backward, params, rng) < 1e-12


def test_the_density_of_an_energy_integrates_to_1():
    loss = EnergyLikelihood(Energy(mlp((1, 8, 1)), 1.5), 1, -14.0, 14.0)
    params = some(loss.energy, Noise(0))
    x = np.linspace(-14, 14, 2001)[:, None]
    density = np.exp(-loss.forward(params, x)[0]["loss"])
    assert np.sum(density) * (x[1, 0] - x[0, 0]) == pytest.approx(1, rel=1e-9)


def test_denoising_an_energy_has_the_gradient_of_the_explicit_loss_of_noised_data():
    """Over the mixture by quadrature, against ‖∇ log p − ∇ log q_σ‖²: one gradient on average."""
    sigma, energy = 0.5, Energy(mlp((1, 6, 1), "tanh"), 1.0)
    loss = EnergyScoreMatching(energy, sigma)
    x = np.linspace(-5, 5, 160)
    z = np.linspace(-9, 9, 160)
    share = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    data, drawn, weights = outer(x, np.exp(WORLD.log_density(x[:, None])) * (x[1] - x[0]), z, share)
    params = some(energy, Noise(0))
    _, cache = loss.value(params, data[:, None], drawn[:, None])
    found = loss.backward(weights, cache)
    noised = (data + sigma * drawn)[:, None]
    exact = WORLD.score(noised, 1.0, sigma)

    def explicit(p):
        score, _ = energy.score(p, noised)
        return np.array([weights @ np.sum(sigma**2 * (score - exact) ** 2, axis=1)])

    rng = np.random.default_rng(0)
    names, leaves = list(tree.flatten(params)), list(tree.leaves(params))
    for _ in range(5):
        along = [rng.normal(size=a.shape) for a in leaves]
        slope = check.complex_step(
            lambda *m: explicit(tree.unflatten(dict(zip(names, m, strict=True)))), leaves, along
        )[0]
        total = sum(float(np.sum(a * g)) for a, g in zip(along, tree.leaves(found), strict=True))
        assert total == pytest.approx(slope, rel=1e-7)


def test_the_true_score_and_the_true_density_are_where_both_losses_stop():
    """Data N(0.4, 0.8) are the energy 0.5 x on N(0, 0.8); their noised kin have V + σ²."""
    data = 0.4 + np.sqrt(0.8) * np.array([[-1.0], [1.0]])
    params = {"dense0": {"w": np.array([[0.5]]), "b": np.array([0.0])}}
    loss = EnergyLikelihood(Energy(mlp((1, 1)), 0.8))
    _, cache = loss.forward(params, data)
    assert np.max(np.abs(loss.backward(np.full(2, 0.5), cache)["dense0"]["w"])) < 1e-12
    sigma, var = 0.6, 0.8 + 0.36
    params["dense0"]["w"][0, 0] = 0.4 / var
    denoising = EnergyScoreMatching(Energy(mlp((1, 1)), var), sigma)
    both = np.repeat(data, 2, axis=0), np.tile([[-1.0], [1.0]], (2, 1))
    _, cache = denoising.value(params, *both)
    assert np.max(np.abs(denoising.backward(np.full(4, 0.25), cache)["dense0"]["w"])) < 1e-12


def test_float32_stays_float32():
    energy = Energy(mlp((1, 4, 1)), 1.0)
    params = tree.map(lambda a: a.astype(np.float32), some(energy, Noise(0)))
    for loss in (EnergyLikelihood(energy), EnergyScoreMatching(energy, 0.3)):
        terms, cache = loss.forward(params, np.ones((3, 1), np.float32), Noise(0))
        grads = loss.backward(np.ones(3, np.float32), cache)
        assert {a.dtype for a in [terms["loss"], *tree.leaves(grads)]} == {np.dtype(np.float32)}


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="variance above 0"):
        Energy(mlp((1, 1)), 0.0)
    with pytest.raises(ValueError, match="noise level above 0"):
        EnergyScoreMatching(Energy(mlp((1, 1))), 0.0)
    with pytest.raises(ValueError, match="1 or 2 axes"):
        EnergyLikelihood(Energy(mlp((3, 1))), 3)
