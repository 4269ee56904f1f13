"""An energy as a system: three ways to teach it, three ways to draw from it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, tree
from refgen.data import Dataset
from refgen.data.toys import toy
from refgen.exact import Mixture
from refgen.models import mlp
from refgen.noise import Noise
from refgen.objectives.ebm import Contrast, Energy, EnergyLikelihood
from refgen.objectives.noisy_energy import TOLD, AtLevel, NoisyEnergy, NoisyEnergyMatching
from refgen.systems.ebm import EBM
from refgen.systems.system import draw
from refgen.training import Recipe, train
from tests.duck import Duck, undress
from tests.objectives.models import some, witness, witnessed
from tests.objectives.test_devices import table

SMALL = {"hidden": 6, "depth": 1, "points": 61, "edge": 7.0, "rungs": 3, "inner": 2}
SYSTEMS = {
    "likelihood": EBM((2,), "likelihood", **SMALL),
    "line": EBM((1,), "likelihood", **SMALL),
    "contrastive": EBM((3,), "contrastive", chain=2, **SMALL),
    "denoising": EBM((2, 2, 1), **SMALL),
}
each = pytest.mark.parametrize("name", SYSTEMS)
seeds = st.integers(0, 2**31)
WORLD = Mixture(np.array([0.2, 0.8]), np.array([[-2.0], [1.5]]), np.array([0.2, 0.2]))


def shaken(system, seed=0):
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), system.init(Noise(seed)))


def noisy(dim):
    return NoisyEnergy(mlp((dim + TOLD, 6, 5, dim)), 0.8)


@pytest.mark.tiny
@pytest.mark.parametrize("name", ["likelihood", "line", "denoising"])
def test_the_gradient_is_the_adjoint_of_the_mean_loss(name):
    system, rng = SYSTEMS[name], np.random.default_rng(0)
    params, batch = shaken(system), rng.normal(size=(4, *SYSTEMS[name].shape))
    terms, grads = system.turns()[0].gradient(params, batch, Noise(0))
    assert terms["loss"].shape == (4,)
    names, leaves = list(tree.flatten(params)), list(tree.leaves(params))
    along = [rng.normal(size=a.shape) for a in leaves]

    def mean_loss(*moved):
        there = tree.unflatten(dict(zip(names, moved, strict=True)))
        return np.mean(system.gradient(there, batch, Noise(0))[0]["loss"])

    slope = check.complex_step(mean_loss, leaves, along)
    assert check.adjoint_gap(along, list(tree.leaves(grads)), [np.ones(())], [slope]) < 1e-12


@pytest.mark.tiny
@given(seed=seeds, dim=st.integers(1, 3))
def test_the_score_at_every_level_is_the_gradient_of_the_log_density(seed, dim):
    energy, rng = noisy(dim), np.random.default_rng(seed)
    params, x, along = some(energy, Noise(seed)), *rng.normal(size=(2, 4, dim))
    sigma = np.exp(rng.normal(size=4))
    slope = check.complex_step(lambda x: energy.log_unnormalised(params, x, sigma)[0], [x], [along])
    found = np.sum(energy.score(params, x, sigma)[0] * along, axis=1)
    np.testing.assert_allclose(found, slope, rtol=1e-11, atol=1e-12)


@pytest.mark.tiny
@given(seed=seeds, dim=st.integers(1, 3))
def test_the_gradients_of_the_energies_are_their_adjoints(seed, dim):
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(4, dim))
    matching = NoisyEnergyMatching(noisy(dim), (2.0, 0.5, 0.1))
    params = some(matching.energy, Noise(seed))
    assert witnessed(matching, params, data, Noise(seed), rng) < 1e-12
    level = AtLevel(matching.energy, 0.7)
    forward = lambda p: level.log_unnormalised(p, data)  # noqa: E731
    assert witness(forward, level.backward, params, rng) < 1e-12
    contrast = Contrast(Energy(mlp((dim, 6, 1)), 2.0))
    negatives = rng.normal(size=(4, dim))

    def value(p):
        terms, cache = contrast.value(p, data, negatives)
        return terms["loss"], cache

    assert witness(value, contrast.backward, some(contrast.energy, Noise(seed)), rng) < 1e-12


@pytest.mark.tiny
@pytest.mark.parametrize("sigma", [0.1, 1.0, 5.0])
def test_an_untaught_energy_is_a_gaussian_as_wide_as_data_and_noise(sigma):
    level = AtLevel(noisy(1), sigma)
    nothing = tree.map(np.zeros_like, level.energy.init(Noise(0)))
    x, var = np.linspace(-2, 2, 5)[:, None], 0.64 + sigma**2
    np.testing.assert_allclose(level.score(nothing, x)[0], -x / var, rtol=1e-12)
    nll = EnergyLikelihood(level, 1, -60.0, 60.0, 4000).forward(nothing, x)[0]["loss"]
    np.testing.assert_allclose(nll, 0.5 * (x[:, 0] ** 2 / var + np.log(2 * np.pi * var)))


@pytest.mark.tiny
@pytest.mark.parametrize("sigma", [0.05, 1.0, 5.0])
def test_what_is_asked_of_the_layer_has_size_1_at_every_level(sigma):
    """Target less the score at F = 0, over c: in units of c the loss of an untaught energy is 1."""
    choice, std = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), 0.8
    level = NoisyEnergyMatching(noisy(1), (sigma,))
    nothing = tree.map(np.zeros_like, level.energy.init(Noise(0)))
    drawn, each = choice[:, 1:], np.full(4, sigma)
    loss = level.value(nothing, std * choice[:, :1], each, drawn)[0]["loss"]
    c = std / (sigma * np.hypot(std, sigma))
    assert loss.mean() == pytest.approx((sigma * c) ** 2, rel=1e-12)


@pytest.mark.tiny
def test_at_small_noise_the_denoising_loss_hardly_sees_how_modes_are_weighed():
    """Modes ten σ apart, shares exchanged: 0.34 nats of likelihood, and 1e-5 of the loss."""
    sigma, centres, var = 0.2, np.array([[-1.0], [1.0]]), np.full(2, 1e-9)
    right, wrong = (Mixture(np.array(w), centres, var) for w in ([0.3, 0.7], [0.7, 0.3]))
    x = np.linspace(-3, 3, 6001)[:, None]
    p = 0.001 * np.exp(right.log_density(x, 1.0, sigma))
    nats = p @ (right.log_density(x, 1.0, sigma) - wrong.log_density(x, 1.0, sigma))
    apart = right.score(x, 1.0, sigma) - wrong.score(x, 1.0, sigma)
    assert nats == pytest.approx(0.4 * np.log(7 / 3), rel=1e-5)
    assert 0 < sigma**2 * p @ apart[:, 0] ** 2 < 1e-5


@pytest.mark.tiny
def test_a_constant_changes_neither_the_score_nor_the_density():
    system = SYSTEMS["line"]
    params, x = shaken(system), np.linspace(-2, 2, 9)[:, None]
    raised = {"model": dict(params["model"])}
    last = raised["model"]["dense1"]
    raised["model"]["dense1"] = last | {"b": last["b"] + 3.0}
    raised_g, g = (system.density.log_unnormalised(p["model"], x)[0] for p in (raised, params))
    np.testing.assert_allclose(raised_g - g, 3.0)
    scores = [system.density.score(p["model"], x)[0] for p in (raised, params)]
    assert np.array_equal(*scores)
    np.testing.assert_allclose(system.log_density(raised, x), system.log_density(params, x))


@pytest.mark.tiny
def test_langevin_ends_in_the_density_whatever_its_constant():
    """Moments and cells of 4,000 walkers against exp(g)/Z by quadrature, at a step of 0.02."""
    settings = SMALL | {"rungs": 20, "inner": 25, "base_std": 1.0, "points": 601}
    system = EBM((1,), "likelihood", plain_step=0.02, **settings)
    params = tree.map(lambda a: 1.5 * a, shaken(system, 3))
    x = draw(system, params, 4000, Noise(1), sampler="langevin")[:, 0]
    grid = system.likelihood.grid
    p = np.exp(system.log_density(params, grid)) * (grid[1, 0] - grid[0, 0])
    mean = p @ grid[:, 0]
    var = p @ (grid[:, 0] - mean) ** 2
    assert abs(mean) > 0.3 or abs(var - 1) > 0.3  # it is not the base
    assert abs(x.mean() - mean) < 4 * np.sqrt(var / 4000)
    assert abs(x.var() / var - 1) < 4 * np.sqrt(2 / 4000) + 0.02 / var  # the step's own bias
    edges = np.array([-0.5, 0.0, 0.5, 1.0])
    due = np.array([p[grid[:, 0] < edge].sum() for edge in edges])
    share = np.array([(x < edge).mean() for edge in edges])
    assert np.abs(share - due).max() < 4 * np.sqrt(0.25 / 4000)


@pytest.mark.tiny
def test_plain_langevin_takes_the_step_that_is_asked_for():
    """On the untaught base N(0, V) the walk ends at V / (1 − ε/2V), which no other ε has."""
    system = EBM((1,), "likelihood", base_std=0.8, plain_step=0.32, **SMALL)
    nothing = tree.map(np.zeros_like, system.init(Noise(0)))
    x = draw(system, nothing, 20_000, Noise(0), sampler="langevin", steps=20)
    assert abs(x.var() / (0.64 / 0.75) - 1) < 4 * np.sqrt(2 / 20_000)


@pytest.mark.tiny
@pytest.mark.parametrize("denoise", [False, True])
def test_annealed_langevin_steps_by_each_levels_own_square(denoise):
    """On untaught Gaussians v ← (1 − ½ α/(s² + σ²))² v + α with α = step σ² at each level."""
    system = EBM((1,), data_std=0.5, step=0.9, denoise=denoise, **SMALL)
    nothing = tree.map(np.zeros_like, system.init(Noise(0)))
    x = draw(system, nothing, 20_000, Noise(0))
    v = 0.25 + 25.0
    for sigma in (5.0, 0.5, 0.05):
        for _ in range(2):
            alpha = 0.9 * sigma**2
            v = (1 - 0.5 * alpha / (0.25 + sigma**2)) ** 2 * v + alpha
    v *= (0.25 / (0.25 + 0.05**2)) ** 2 if denoise else 1.0
    assert abs(x.var() / v - 1) < 4 * np.sqrt(2 / 20_000)


class Known(EBM):
    """An energy that is a mixture's log density."""

    @property
    def density(self):
        class Density:
            def score(self, params, x):
                return WORLD.score(x), None

            def log_unnormalised(self, params, x):
                return WORLD.log_density(x) + 7.0, None

        return Density()


@pytest.mark.tiny
def test_the_grid_has_the_weights_that_plain_langevin_misses():
    system = Known((1,), "contrastive", plain_step=0.02, base_std=2.0, edge=5.0)
    params, off = {"model": {"w": np.zeros(1)}}, {}
    for sampler in ("grid", "langevin"):
        x = draw(system, params, 2000, Noise(0), sampler=sampler)[:, 0]
        off[sampler] = (x < 0).mean() - 0.2
        np.testing.assert_allclose(x[x < 0].mean(), -2.0, atol=0.12)
        np.testing.assert_allclose(x[x > 0].std(), np.sqrt(0.2), rtol=0.1)
    assert abs(off["grid"]) < 4 * np.sqrt(0.16 / 2000)
    assert off["langevin"] > 0.15


@pytest.mark.tiny
def test_a_draw_from_a_cell_is_anywhere_in_it_and_on_no_side():
    """The mean of the density, the variance of the density and of a cell."""
    system = Known((1,), "contrastive", points=10, edge=5.0)
    x = draw(system, {"model": {"w": np.zeros(1)}}, 40_000, Noise(0), sampler="grid")[:, 0]
    cell, left = 10 / 39, x < -0.4
    assert abs(x[left].mean() + 2.0) < 4 * np.sqrt(0.21 / left.sum())
    assert abs(x[left].var() - 0.2 - cell**2 / 12) < 4 * np.sqrt(2 / left.sum()) * 0.21
    assert len(np.unique(x)) > 39_000


@pytest.mark.tiny
def test_with_samples_of_the_model_the_contrast_has_the_gradient_of_the_likelihood():
    """An energy w x + b on N(0, V) is N(V w, V): draws of it stand for the grid; b is free."""
    energy, rng = Energy(mlp((1, 1)), 0.8), np.random.default_rng(0)
    params = {"dense0": {"w": np.array([[0.5]]), "b": np.array([0.3])}}
    data = rng.normal(size=(20_000, 1))
    own = 0.4 + np.sqrt(0.8) * rng.normal(size=data.shape)
    share = np.full(len(data), 1 / len(data))
    found = []
    for loss, args in (
        (EnergyLikelihood(energy), (data,)),
        (Contrast(energy), (data, own)),
        (Contrast(energy), (own, data)),
    ):
        _, cache = (loss.value if isinstance(loss, Contrast) else loss.forward)(params, *args)
        found.append(loss.backward(share, cache)["dense0"])
    exact, sampled, reversed_ = (float(g["w"][0, 0]) for g in found)
    assert abs(sampled - exact) < 4 * np.sqrt(0.8 / len(data))
    assert abs(reversed_ - exact) > 0.5  # who is pushed and who is pulled
    np.testing.assert_allclose([g["b"][0] for g in found], 0, atol=1e-12)


@pytest.mark.tiny
def test_chains_begin_at_the_data_and_none_is_differentiated():
    system = SYSTEMS["contrastive"]
    params, data = shaken(system), np.random.default_rng(0).normal(size=(5, 3))
    terms, grads = system.gradient(params, data, Noise(4))
    assert np.abs(terms["loss"]).max() < 3  # two short steps away
    still = replace(system, plain_step=1e-30)
    terms, there = still.gradient(params, data, Noise(4))
    np.testing.assert_allclose(terms["loss"], 0, atol=1e-10)
    assert max(np.abs(g).max() for g in tree.leaves(there)) < 1e-10
    assert max(np.abs(g).max() for g in tree.leaves(grads)) > 1e-6


@pytest.mark.tiny
@each
def test_it_draws_examples_of_its_shape_in_its_type(name):
    system = SYSTEMS[name]
    params = tree.map(lambda a: a.astype(np.float32), shaken(system))
    x = draw(system, params, 5, Noise(0))
    assert x.shape == (5, *system.shape)
    assert x.dtype == np.float32
    assert np.array_equal(x, draw(system, params, 5, Noise(0)))
    assert np.isfinite(draw(system, params, 3, Noise(0), sampler="langevin", steps=1)).all()
    if np.prod(system.shape) < 3:
        inside = draw(system, params, 50, Noise(0), sampler="grid")
        assert inside.dtype == np.float32
        assert 0.1 < np.abs(inside).max() < 7.2
        with pytest.raises(ValueError, match="in one pass"):
            draw(system, params, 2, Noise(0), sampler="grid", steps=3)
    else:
        with pytest.raises(ValueError, match="1 or 2 axes"):
            draw(system, params, 2, Noise(0), sampler="grid")
    with pytest.raises(ValueError, match="no sampler 'heun'"):
        draw(system, params, 2, Noise(0), sampler="heun")
    if name != "denoising":
        with pytest.raises(ValueError, match="annealed Langevin needs energies at many"):
            draw(system, params, 2, Noise(0), sampler="annealed")


@pytest.mark.tiny
@each
def test_it_learns_and_draws_the_same_where_arrays_live_elsewhere(name):
    system = SYSTEMS[name]
    elsewhere = table()
    elsewhere.fetch = undress
    away, here = replace(system, ops=elsewhere, clip=1.0), replace(system, clip=1.0)
    params = tree.map(lambda a: a.astype(np.float32), shaken(system))
    there = tree.map(Duck, params)
    batch = Noise(3).normal((4, *system.shape), dtype=np.float32)
    terms, grads = here.gradient(params, batch, Noise(0))
    far_terms, far_grads = away.gradient(there, Duck(batch), Noise(0))
    pairs = [(far_terms["loss"], terms["loss"])]
    pairs += zip(tree.leaves(far_grads), tree.leaves(grads), strict=True)
    ways = ["annealed"] if name == "denoising" else ["langevin"]
    ways += ["grid"] if np.prod(system.shape) < 3 else []
    for way in ways:
        drawn = [s.sample(p, 3, Noise(1), sampler=way) for s, p in ((away, there), (here, params))]
        pairs.append(tuple(drawn))
    for duck, array in pairs:
        assert isinstance(duck, Duck)
        np.testing.assert_allclose(undress(duck), array, rtol=1e-3, atol=1e-4)


@pytest.mark.tiny
def test_a_walk_costs_as_many_scores_as_it_has_steps(monkeypatch):
    calls = []
    score = AtLevel.score
    monkeypatch.setattr(AtLevel, "score", lambda s, p, x: calls.append(s.sigma) or score(s, p, x))
    system = SYSTEMS["denoising"]
    params = shaken(system)
    for steps in (0, 1, 5):
        inner = steps or 2
        for sampler, due in (("annealed", 3 * inner + 1), ("langevin", steps or 6)):
            calls.clear()
            draw(system, params, 2, Noise(0), sampler=sampler, steps=steps)
            assert len(calls) == due
        assert set(calls) == {0.05}
    calls.clear()
    draw(replace(system, denoise=False), params, 2, Noise(0))
    np.testing.assert_allclose(calls, np.repeat([5.0, 0.5, 0.05], 2))


@pytest.mark.tiny
def test_a_walk_that_would_run_away_is_kept_where_data_can_be():
    system = SYSTEMS["denoising"]
    params = tree.map(lambda a: 30.0 * a, shaken(system))
    held = draw(replace(system, clip=1.0), params, 20, Noise(0))
    assert np.abs(held).max() <= 1 + 1e-9
    assert np.abs(draw(system, params, 20, Noise(0))).max() > 100
    calm = tree.map(np.zeros_like, params)  # a Gaussian's mean is within a wide limit: no change
    near, free = (draw(replace(system, clip=c), calm, 20, Noise(0)) for c in (50.0, 0.0))
    np.testing.assert_allclose(near, free, rtol=1e-9)


def test_taught_by_its_exact_likelihood_an_energy_comes_near_the_entropy():
    world = toy("bimodal")
    data = Dataset("bimodal", world.sample(5000, Noise(0)).astype(np.float32), None, "points", 0)
    system = EBM((1,), "likelihood", hidden=32, depth=2, points=101)
    state = train(system, data, Recipe(300, 256, 3e-3, warmup=20))
    x = world.sample(20_000, Noise(1))
    params = tree.map(lambda a: a.astype(np.float64), state.average)
    fine = replace(system, points=801, edge=6.0)
    assert -fine.log_density(params, x).mean() - world.entropy < 0.02
    left = fine.likelihood.grid[:, 0] < 0
    p = np.exp(fine.log_density(params, fine.likelihood.grid)) * 12 / 800
    assert abs(p[left].sum() - 1 / 3) < 0.03


@pytest.mark.tiny
@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"method": "hope"}, "unknown method 'hope'; there are denoising"),
        ({"method": "likelihood"}, "4 dimensions is no sum"),
        ({"depth": 0}, "of 1 or more"),
        ({"chain": 0}, "of 1 or more"),
        ({"step": 4.0}, "0 < step < 4"),
        ({"plain_step": 0.0}, "plain_step > 0"),
        ({"clip": -1.0}, "clip is a limit"),
        ({"data_std": 0.0}, "data_std"),
        ({"method": "contrastive", "base_std": 0.0}, "variance above 0"),
        ({"rungs": 1}, "L ≥ 2"),
        ({"sigma_first": 9.0}, "geometric noise levels"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        EBM((2, 2, 1), **settings)
    with pytest.raises(ValueError, match="noise levels above 0"):
        NoisyEnergyMatching(noisy(1), ())
