"""Where arrays live elsewhere: an objective looks at none of them and mixes none with its own."""

from types import SimpleNamespace

import numpy as np
import pytest

from refgen import ops, tree
from refgen.models import TimeMLP, mlp
from refgen.noise import Noise
from refgen.objectives.consistency import Consistency, karras_levels
from refgen.objectives.denoising import Denoising
from refgen.objectives.discretized import Bins
from refgen.objectives.distillation import ProgressiveDistillation
from refgen.objectives.ebm import Energy, EnergyLikelihood, EnergyScoreMatching
from refgen.objectives.hybrid import Hybrid, TwoHeads
from refgen.objectives.noisy_energy import TOLD, NoisyEnergy, NoisyEnergyMatching
from refgen.objectives.precondition import Preconditioned
from refgen.objectives.score_matching import (
    OverNoise,
    SlicedScoreMatching,
    denoising_score_matching,
)
from refgen.objectives.variational import VariationalBound
from refgen.processes.discrete import of_noise_levels
from refgen.processes.path import VP
from refgen.processes.schedule import cosine, geometric
from tests.duck import Duck, undress
from tests.objectives.models import some

pytestmark = pytest.mark.tiny
SCHEDULE, SIGMA = cosine(6), geometric(4, 2.0, 0.1)
PATH = of_noise_levels(SIGMA)
NETWORK, FIELD = TimeMLP(3, 4, 1, embedding=4), mlp((3, 4, 3), "silu")
ENERGY = Energy(mlp((3, 4, 1), "silu"), 2.0)
NOISY = NoisyEnergy(mlp((3 + TOLD, 4, 3)), 0.8)
PLANE = Energy(mlp((2, 4, 1), "silu"), 2.0)


def bound(table, variance):
    """Return a bound on levels."""
    model = TwoHeads(NETWORK, NETWORK) if variance == "learned" else NETWORK
    return VariationalBound(model, SCHEDULE, "v", variance, Bins(5), ops=table)


def shrunk(x, t):
    """Return a teacher's guess."""
    return 0.5 * x


OBJECTIVES = {  # name -> what makes it, its parameters, the coordinates of a point
    "schedule": (lambda t: Denoising(NETWORK, SCHEDULE, "v", "min-snr", ops=t), NETWORK, 3),
    "path": (lambda t: Denoising(NETWORK, VP(), "velocity", "elbo", ops=t), NETWORK, 3),
    "ncsn": (
        lambda t: denoising_score_matching(OverNoise(NETWORK, PATH), SIGMA, t),
        NETWORK,
        3,
    ),
    "bound": (lambda t: bound(t, "posterior"), NETWORK, 3),
    "learned": (lambda t: bound(t, "learned"), TwoHeads(NETWORK, NETWORK), 3),
    "hybrid": (lambda t: Hybrid(bound(t, "learned")), TwoHeads(NETWORK, NETWORK), 3),
    "consistency": (
        lambda t: Consistency(Preconditioned(NETWORK, 0.5, 0.1), karras_levels(5, 0.1, 2.0), ops=t),
        NETWORK,
        3,
    ),
    "consistency distillation": (
        lambda t: Consistency(
            Preconditioned(NETWORK, 0.5, 0.1),
            karras_levels(5, 0.1, 2.0),
            shrunk,
            weight="gap",
            ops=t,
        ),
        NETWORK,
        3,
    ),
    "distillation": (
        lambda t: ProgressiveDistillation(NETWORK, SCHEDULE, (6, 4, 2, 1, 0), shrunk, ops=t),
        NETWORK,
        3,
    ),
    "distillation on a path": (
        lambda t: ProgressiveDistillation(NETWORK, VP(), (1.0, 0.5, 0.0), shrunk, ops=t),
        NETWORK,
        3,
    ),
    "sliced": (lambda t: SlicedScoreMatching(FIELD, 2, sigma=0.1, ops=t), FIELD, 3),
    "implicit": (lambda t: SlicedScoreMatching(FIELD, kind="axes", ops=t), FIELD, 3),
    "energy": (lambda t: EnergyScoreMatching(ENERGY, 0.3, ops=t), ENERGY, 3),
    "noisy energy": (lambda t: NoisyEnergyMatching(NOISY, (2.0, 0.1), ops=t), NOISY, 3),
    "likelihood": (lambda t: EnergyLikelihood(PLANE, 2, points=8), PLANE, 2),
}


def table():
    """Return the page, drawing and keeping its arrays on the other side."""
    away = SimpleNamespace(**{name: getattr(ops, name) for name in ops.__all__})
    away.normals = lambda *where: Duck(ops.normals(*where))
    away.words = lambda *where: Duck(ops.words(*where))
    away.put = lambda a: Duck(a)
    return away


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_loss_and_its_gradient_are_the_same_elsewhere(name):
    make, model, dim = OBJECTIVES[name]
    params = tree.map(lambda a: a.astype(np.float32), some(model, Noise(0)))
    levels = Bins(5).levels.astype(np.float32)
    data = levels[np.random.default_rng(0).integers(5, size=(8, dim))]
    terms, cache = make(ops).forward(params, data, Noise(1))
    grads = make(ops).backward(np.full(8, 0.125, np.float32), cache)
    away = make(table())
    ducks, duck_cache = away.forward(tree.map(Duck, params), Duck(data), Noise(1))
    duck_grads = away.backward(Duck(np.full(8, 0.125, np.float32)), duck_cache)
    assert all(isinstance(a, Duck) for a in [*ducks.values(), *tree.leaves(duck_grads)])
    for key, here in terms.items():
        np.testing.assert_allclose(undress(ducks[key]), here, rtol=1e-5, atol=1e-6)
    for a, b in zip(tree.leaves(duck_grads), tree.leaves(grads), strict=True):
        np.testing.assert_allclose(undress(a), b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["noise", "data", "v"])
def test_a_sampler_may_ask_elsewhere(kind):
    params = tree.map(lambda a: a.astype(np.float32), some(NETWORK, Noise(0)))
    x = np.ones((4, 3), np.float32)
    for process, t in ((SCHEDULE, 3), (VP(), 0.4)):
        here = Denoising(NETWORK, process, "v").predict(params, x, t, kind)
        away = Denoising(NETWORK, process, "v", ops=table())
        found = away.predict(tree.map(Duck, params), Duck(x), t, kind)
        np.testing.assert_allclose(undress(found), here, rtol=1e-5)
    each = np.array([1, 2, 3, 6])
    here = Denoising(NETWORK, SCHEDULE, "v").predict(params, x, each, kind)
    away = Denoising(NETWORK, SCHEDULE, "v", ops=table())
    found = away.predict(tree.map(Duck, params), Duck(x), Duck(each), kind)
    np.testing.assert_allclose(undress(found), here, rtol=1e-5)
    mean, logvar = bound(table(), "learned").reverse(
        tree.map(Duck, {"prediction": params, "variance": params}), Duck(x), 3
    )
    assert isinstance(mean, Duck)
    assert isinstance(logvar, Duck)
