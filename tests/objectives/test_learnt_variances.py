"""Learnt variances: what they reach, two heads, and the hybrid loss that teaches them."""

import numpy as np
import pytest
from hypothesis import given

from refgen import tree
from refgen.exact import Gaussian, LinearGaussianChain
from refgen.models import TimeMLP
from refgen.noise import Noise
from refgen.objectives.denoising import Denoising
from refgen.objectives.discretized import Bins
from refgen.objectives.hybrid import Hybrid, TwoHeads
from refgen.objectives.variational import VariationalBound
from refgen.processes.schedule import cosine, linear
from tests.objectives.bounds import SCHEDULE, best_lines, each_kind, expected, seeds, some_bound
from tests.objectives.models import Line, signs, some, witnessed

pytestmark = pytest.mark.tiny
MEAN, STD = 0.4, 0.6


class WithVariance:
    """A linear predictor with r a number for each time."""

    def forward(self, params, x, t):
        """Return (y, cache)."""
        y, cache = Line().forward(params["line"], x, t)
        return np.concatenate([y, params["r"][t][:, None] + 0 * y], axis=1), (cache, t, params["r"])

    def backward(self, dy, cache):
        """Return (dx, grads)."""
        inner, t, r = cache
        dy, dr = np.split(dy, 2, axis=1)
        dx, grads = Line().backward(dy, inner)
        grads = {"line": grads, "r": np.zeros_like(r)}
        np.add.at(grads["r"], t, dr.sum(axis=1))
        return dx, grads


def exact_r(schedule):
    """Return r with which the variance is the reverse kernel's of data N(MEAN, STD²)."""
    var = LinearGaussianChain.reverse(schedule, MEAN, STD**2).var[1:]
    low = schedule.posterior_var[1:].copy()
    low[0] = low[1]
    high = np.log(schedule.beta[1:])
    return np.concatenate([[0.0], 2 * (np.log(var) - np.log(low)) / (high - np.log(low)) - 1])


@each_kind
def test_learnt_variances_reach_the_evidence_of_any_gaussian(kind):
    """On average over data the bound is their entropy, plus what x_T still tells: KL[q_T ‖ N]."""
    world = Gaussian(np.array([MEAN]), np.array([[STD**2]]))
    params = {"line": best_lines(world, kind), "r": exact_r(SCHEDULE)}
    bound = VariationalBound(WithVariance(), SCHEDULE, kind, "learned")
    x0 = MEAN + STD * np.array([-1.0, 1.0])
    total = bound.prior(x0[:, None]) + expected(bound, params, x0).sum(axis=0)
    chain = LinearGaussianChain.reverse(SCHEDULE, MEAN, STD**2)
    np.testing.assert_allclose(total, -chain.elbo(x0), rtol=1e-9)
    left = SCHEDULE.alpha_bar[-1]
    end = Gaussian(np.array([np.sqrt(left) * MEAN]), np.array([[1 + left * (STD**2 - 1)]]))
    lost = end.kl(Gaussian(np.zeros(1), np.eye(1)))
    assert total.mean() == pytest.approx(world.entropy + lost, rel=1e-9)


@each_kind
def test_at_the_exact_reverse_kernel_nothing_moves(kind):
    world = Gaussian(np.array([MEAN]), np.array([[STD**2]]))
    params = {"line": best_lines(world, kind), "r": exact_r(SCHEDULE)}
    bound = VariationalBound(WithVariance(), SCHEDULE, kind, "learned")
    choice, t = signs(2), np.arange(1, 9)
    many = (np.tile(MEAN + STD * choice[:, :1], (8, 1)), np.tile(choice[:, 1:], (8, 1)))

    def gradient(p):
        grads = bound.backward(np.ones(32), bound.value(p, *many, np.repeat(t, 4)))
        return np.stack([grads["line"]["slope"], grads["line"]["offset"], grads["r"]])[:, 1:]

    size = np.abs(gradient(tree.map(lambda a: 1.1 * a + 0.2, params)))
    assert size.min() > 0
    assert np.max(np.abs(gradient(params)) / size) < 1e-9


def test_the_ends_of_a_learnt_variance_are_the_two_fixed_ones():
    x, bins = np.zeros((1, 3)), Bins(5)

    class Ends:
        def __init__(self, r):
            self.r = r

        def forward(self, params, x, t):
            return np.concatenate([x, self.r + 0 * x], axis=-1), None

    for t in range(1, 9):
        low, middle, high = (
            VariationalBound(Ends(r), SCHEDULE, variance="learned", bins=bins).reverse({}, x, t)[1][
                0, 0
            ]
            for r in (-1, 0, 1)
        )
        beta, smallest = SCHEDULE.beta[t], SCHEDULE.posterior_var[max(t, 2)]
        np.testing.assert_allclose([low, high], np.log([smallest, beta]), rtol=1e-12)
        assert middle == pytest.approx(0.5 * (low + high))
    bound = VariationalBound(Ends(-1), SCHEDULE, variance="learned", first_var=1e-3)
    assert bound.reverse({}, x, 1)[1][0, 0] == pytest.approx(np.log(1e-3))


def test_two_heads_give_back_the_gradient_of_x():
    network = TimeMLP(3, 5, 1, embedding=4)
    heads = TwoHeads(network, network)
    params, x = some(heads, Noise(0)), np.ones((2, 3))
    y, cache = heads.forward(params, x, np.array([1, 2]))
    assert y.shape == (2, 6)
    dx, _ = heads.backward(np.ones_like(y), cache)
    parts = [network.forward(params[n], x, np.array([1, 2])) for n in ("prediction", "variance")]
    exact = sum(network.backward(np.ones((2, 3)), c)[0] for _, c in parts)
    np.testing.assert_allclose(dx, exact)


def test_images_have_their_variances_in_a_second_half_of_the_channels():
    network = TimeMLP(8, 5, 1, embedding=4)
    bound = VariationalBound(TwoHeads(network, network), cosine(5), "v", "learned", Bins(3))
    params = some(bound.model, Noise(0))
    data = np.random.default_rng(0).choice(Bins(3).levels, size=(4, 2, 2, 2))
    rng = np.random.default_rng(1)
    assert witnessed(bound, params, data, Noise(2), rng) < 1e-12
    assert bound.reverse(params, data, 3)[1].shape == data.shape


@pytest.mark.parametrize("kind", ["noise", "data", "v"])
@given(seed=seeds)
def test_the_hybrid_loss_teaches_the_mean_by_the_simple_and_the_variance_by_the_bound(kind, seed):
    """Without the stop, the bound's gradient would reach the prediction as well."""
    bound, params = some_bound(kind, "learned", Bins(5))
    rng = np.random.default_rng(seed)
    data, place = rng.choice(Bins(5).levels, size=(6, 3)), Noise(seed)
    hybrid, dloss = Hybrid(bound, 0.01), rng.normal(size=6)
    terms, cache = hybrid.forward(params, data, place)
    grads = hybrid.backward(dloss, cache)
    simple = Denoising(bound.model.prediction, SCHEDULE, kind)
    alone, simple_cache = simple.forward(params["prediction"], data, place)
    np.testing.assert_allclose(terms["simple"], alone["loss"], rtol=1e-10)
    of_simple = simple.backward(dloss, simple_cache)
    full, bound_cache = bound.forward(params, data, place)
    np.testing.assert_allclose(terms["bound"], full["loss"], rtol=1e-12)
    np.testing.assert_allclose(terms["loss"], terms["simple"] + 0.01 * full["loss"], rtol=1e-12)
    of_bound = bound.backward(0.01 * dloss, bound_cache)
    for name, exact in (("prediction", of_simple), ("variance", of_bound["variance"])):
        for a, b in zip(tree.leaves(grads[name]), tree.leaves(exact), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * np.abs(b).max())
    moved = tree.dot(of_bound["prediction"], of_bound["prediction"])
    assert moved > 0


def test_float32_stays_float32_and_near_float64():
    bound, params = some_bound("noise", "learned", Bins(17), linear(50, 1e-3, 0.1))
    hybrid = Hybrid(bound)
    data = np.random.default_rng(0).choice(Bins(17).levels, size=(40, 3))
    exact = hybrid.forward(params, data, Noise(0))[0]
    small = tree.map(lambda a: a.astype(np.float32), params)
    terms, cache = hybrid.forward(small, data.astype(np.float32), Noise(0))
    grads = hybrid.backward(np.ones(40, np.float32), cache)
    found = [*terms.values(), *tree.leaves(grads)]
    assert {a.dtype for a in found} == {np.dtype(np.float32)}
    np.testing.assert_allclose(terms["bound"], exact["bound"], rtol=1e-3, atol=0.05)
