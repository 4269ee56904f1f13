"""Small networks descend each loss, and end where the exact world says."""

from itertools import pairwise

import numpy as np
import pytest

from refgen import ops
from refgen.exact import Mixture
from refgen.metrics.bayes import bayes_distance
from refgen.models import TimeMLP, mlp
from refgen.noise import Noise
from refgen.objectives.consistency import Consistency, karras_levels
from refgen.objectives.denoising import Denoising, UniformTimes
from refgen.objectives.distillation import ProgressiveDistillation
from refgen.objectives.ebm import Energy, EnergyLikelihood, EnergyScoreMatching
from refgen.objectives.hybrid import Hybrid, TwoHeads
from refgen.objectives.precondition import Preconditioned
from refgen.objectives.score_matching import OverNoise, SlicedScoreMatching
from refgen.objectives.variational import VariationalBound
from refgen.processes.discrete import of_schedule
from refgen.processes.path import VP, CosinePath
from refgen.processes.schedule import cosine
from refgen.training.optimizer import Adam

pytestmark = pytest.mark.slow
WORLD = Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.05, 0.1]))
SCHEDULE = cosine(50)


def descend(objective, params, steps=1500, lr=4e-3, batch=256):
    """Return the averaged parameters after Adam's steps on draws of the mixture."""
    adam = Adam(steps, lr)
    moments = adam.start(params)
    for k in range(1, steps + 1):
        place = Noise(0).at("step", k)
        data = WORLD.sample(batch, place.at("data"))
        _, cache = objective.forward(params, data, place)
        grads = objective.backward(np.full(batch, 1 / batch), cache)
        params, moments = adam.update(ops, params, grads, moments, k)
    return moments["average"]


@pytest.mark.parametrize("kind", ["noise", "data", "v", "score"])
def test_every_kind_learns_the_best_noise_within_two_percent(kind):
    network = TimeMLP(1, 48, 2, embedding=16)
    model = OverNoise(network, of_schedule(SCHEDULE)) if kind == "score" else network
    loss = Denoising(model, SCHEDULE, kind)
    params = descend(loss, model.init(Noise(1)))
    signal, level = np.sqrt(SCHEDULE.alpha_bar), np.sqrt(1 - SCHEDULE.alpha_bar)
    found = bayes_distance(
        lambda x, t: loss.predict(params, x, t, "noise"), WORLD, signal, level, Noise(2), 50_000
    )
    assert found.ratio < 0.02


@pytest.mark.parametrize("hybrid", [True, False])
def test_a_learnt_variance_brings_the_bound_near_the_entropy(hybrid):
    network = TimeMLP(1, 48, 2, embedding=16)
    bound = VariationalBound(TwoHeads(network, network), SCHEDULE, "noise", "learned")
    loss = Hybrid(bound, 0.01) if hybrid else bound
    params = descend(loss, bound.model.init(Noise(1)), lr=2e-3)
    data = WORLD.sample(4000, Noise(3))
    nats = -bound.terms(params, data, Noise(4)).elbo.mean()
    head = VariationalBound(network, SCHEDULE, "noise", "beta")
    fixed = -head.terms(params["prediction"], data, Noise(4)).elbo.mean()
    assert WORLD.entropy - 0.02 < nats < WORLD.entropy + 0.12
    assert nats < fixed - 0.02


def test_sliced_score_matching_finds_the_score():
    layer = mlp((1, 48, 48, 1), "tanh")
    loss = SlicedScoreMatching(layer, sigma=0.3)
    params = descend(loss, layer.init(Noise(1)))
    x = np.linspace(-1.6, 1.6, 60)[:, None]
    weights = np.exp(WORLD.log_density(x, 1.0, 0.3))
    exact = WORLD.score(x, 1.0, 0.3)
    error = weights @ (layer.forward(params, x)[0] - exact) ** 2
    assert error[0] < 0.03 * (weights @ exact**2)[0]


@pytest.mark.parametrize("how", ["likelihood", "denoising"])
def test_an_energy_finds_the_density(how):
    energy = Energy(mlp((1, 48, 48, 1), "softplus"), 1.0)
    likelihood = EnergyLikelihood(energy, low=-5.0, high=5.0, points=200)
    loss = likelihood if how == "likelihood" else EnergyScoreMatching(energy, 0.3)
    params = descend(loss, energy.init(Noise(1)), 1000)
    sigma = 0.0 if how == "likelihood" else 0.3
    x = np.linspace(-4, 4, 801)[:, None]
    log_q = WORLD.log_density(x, 1.0, sigma)
    log_p = -likelihood.forward(params, x)[0]["loss"]
    assert np.sum(np.exp(log_q) * (log_q - log_p)) * 0.01 < 0.02  # the divergence, in nats


@pytest.mark.parametrize("taught", [True, False])
def test_a_consistency_model_draws_the_mixture_in_one_step(taught):
    def teacher(x, sigma):
        return WORLD.data_mean(x, 1.0, sigma)

    model = Preconditioned(TimeMLP(1, 64, 2, embedding=16), 0.9, 0.02)
    levels = karras_levels(40, 0.02, 8.0)
    loss = Consistency(model, levels, teacher if taught else None, weight="gap", c=0.03)
    params = descend(loss, model.init(Noise(1)), 4000, 2e-3)
    x, _ = model.forward(params, 8.0 * Noise(5).normal((4000, 1)), np.full(4000, 8.0))
    left = float(np.mean(x < -0.1))
    assert abs(left - 0.3) < 0.05
    assert abs(x[x > 0].mean() - 0.8) < 0.1


def test_a_student_of_two_steps_walks_as_its_teacher_of_four():
    path, times = CosinePath(), (1.0, 0.75, 0.5, 0.25, 0.0)

    def teacher(x, t):
        levels = path.levels(t)
        return WORLD.data_mean(x, levels.a, levels.b)

    def walk(estimate, x, steps):
        for t, s in pairwise(steps):
            now, end = path.levels(t), path.levels(s)
            data = estimate(x, np.full(len(x), t))
            x = end.a * data + end.b * (x - now.a * data) / now.b
        return x

    network = TimeMLP(1, 64, 2, embedding=16)
    loss = ProgressiveDistillation(network, path, times, teacher)
    params = descend(loss, network.init(Noise(1)), 3000, 3e-3)
    student = Denoising(network, path, "v", times=UniformTimes())
    x = Noise(5).normal((2000, 1))
    exact = walk(teacher, x, times)
    found = walk(lambda x, t: student.predict(params, x, t, "data"), x, loss.student_times)
    other = walk(teacher, x, loss.student_times)
    assert np.mean((found - exact) ** 2) < 0.05 * np.mean((other - exact) ** 2)


def test_a_path_is_learnt_as_a_schedule_is():
    network, path = TimeMLP(1, 48, 2, embedding=16), VP()
    loss = Denoising(network, path, "v", "min-snr")
    params = descend(loss, network.init(Noise(1)))
    t = np.arange(1, 101) / 100
    levels = path.levels(t)
    signal, level = (np.concatenate([[e], c]) for e, c in ((1.0, levels.a), (0.0, levels.b)))
    found = bayes_distance(
        lambda x, i: loss.predict(params, x, i / 100, "noise"),
        WORLD,
        signal,
        level,
        Noise(2),
        50_000,
    )
    assert found.ratio < 0.02
