"""One loss in every parametrization: gradients, weights, its part of the bound, what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import ops, tree
from refgen.exact import Gaussian, Mixture
from refgen.models import TimeMLP
from refgen.noise import Noise
from refgen.objectives.ddpm import NoisePrediction
from refgen.objectives.denoising import Denoising, LogNormalTimes, UniformTimes
from refgen.objectives.variational import VariationalBound
from refgen.processes.discrete import of_noise_levels, of_path, of_schedule
from refgen.processes.parametrization import KINDS, convert
from refgen.processes.path import EDM, VE, VP, CosinePath, log_snr
from refgen.processes.schedule import cosine, geometric, linear, zero_terminal
from refgen.processes.weights import WEIGHTS
from tests.objectives.models import Best, Line, Same, signs, some, witnessed

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)
MEAN, STD = 0.7, 0.5
WORLD = Gaussian(np.array([MEAN]), np.array([[STD**2]]))
SHORT = UniformTimes(1e-2, 0.98)
PROCESSES = {
    "schedule": linear(12, 0.02, 0.3),
    "no signal": zero_terminal(linear(12, 0.02, 0.3)),
    "noise levels": of_noise_levels(geometric(9, 3.0, 0.05)),
    "path in steps": of_path(VP(), 10),
    "vp": VP(),
    "ve": VE(0.02, 5.0),
    "cosine": CosinePath(),
}


def blind(name, kind):
    """Tell whether a kind says nothing, or is nothing, somewhere on a process."""
    continuous = name in ("vp", "ve", "cosine")
    return (name == "no signal" and kind in ("noise", "score")) or (continuous and kind == "mean")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROCESSES)
@given(seed=seeds, weight=st.sampled_from(sorted(WEIGHTS)))
def test_the_gradient_is_the_adjoint_of_the_loss(name, kind, seed, weight):
    if blind(name, kind):
        return
    rng = np.random.default_rng(seed)
    network = TimeMLP(3, 6, 1, embedding=4)
    loss = Denoising(network, PROCESSES[name], kind, weight, times=SHORT)
    params = some(network, Noise(seed))
    data = rng.normal(size=(3, 3))
    assert witnessed(loss, params, data, Noise(seed).at("draw"), rng) < 1e-12


@pytest.mark.parametrize("weight", ["simple", "elbo"])
def test_on_a_schedule_it_is_the_noise_predictors_loss(weight):
    network, schedule = TimeMLP(3, 6, 1, embedding=4), linear(20, 1e-3, 0.2)
    params, data = some(network, Noise(0)), np.random.default_rng(0).normal(size=(6, 3))
    losses = [
        NoisePrediction(network, schedule, weight),
        Denoising(network, schedule, "noise", weight),
    ]
    found = []
    for loss in losses:
        terms, cache = loss.forward(params, data, Noise(1))
        found.append([terms["loss"], *tree.leaves(loss.backward(np.ones(6), cache))])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("weight", sorted(WEIGHTS))
@pytest.mark.parametrize("name", [n for n in PROCESSES if n not in ("no signal", "cosine")])
def test_under_one_weight_all_kinds_have_one_loss_and_one_gradient(name, weight):
    """A weight turned upside down, or one that forgets the kind, is off by orders of magnitude."""
    process, rng = PROCESSES[name], np.random.default_rng(0)
    network, data = TimeMLP(2, 6, 1, embedding=4), rng.normal(size=(8, 2))
    params, found = some(network, Noise(0)), {}
    for kind in ("noise", "data", "v", "score", "velocity"):
        loss = Denoising(network, process, kind, weight, times=SHORT)
        path = loss.path
        clock = Clock(path, 1.0 if hasattr(path, "T") else 1000.0)
        said = Denoising(Same(network, clock, kind), process, kind, weight, times=SHORT)
        terms, cache = said.forward(params, data, Noise(2))
        found[kind] = [terms["loss"], *tree.leaves(said.backward(np.ones(8), cache))]
    for kind, arrays in found.items():
        for a, b in zip(arrays, found["noise"], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * np.abs(b).max(), err_msg=kind)


class Clock:
    """A path whose levels are asked for in the times that a network is told."""

    def __init__(self, path, clock):
        self.path, self.clock = path, clock

    def levels(self, t):
        """Return the levels of the path's own time."""
        return self.path.levels(t if self.clock == 1 else t / self.clock)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["schedule", "noise levels", "path in steps"])
def test_the_exact_conditional_mean_is_where_the_gradient_vanishes(name, kind):
    """Data m ± s and noise ±1 have the moments of Gaussians: the mean over four cases is exact."""
    path = Denoising(Line(), PROCESSES[name], kind).path
    T = path.T
    choice = signs(2)
    data, drawn = MEAN + STD * choice[:, :1], choice[:, 1:]
    best, ends = Best(WORLD, path, kind), np.array([[0.0], [1.0]])
    at = [best.forward({}, ends, np.full(2, t))[0][:, 0] for t in range(1, T + 1)]
    params = {
        "offset": np.array([0.0] + [y[0] for y in at]),
        "slope": np.array([0.0] + [y[1] - y[0] for y in at]),
    }
    for weight in ("simple", "elbo"):
        loss, t = Denoising(Line(), PROCESSES[name], kind, weight), np.arange(1, T + 1)
        many = np.repeat(t, 4), np.tile(data, (T, 1)), np.tile(drawn, (T, 1))

        def gradient(p, loss=loss, many=many):
            times, clean, noise = many
            _, cache = loss.value(p, clean, noise, times)
            grads = loss.backward(np.full(len(times), 0.25), cache)
            return np.stack([grads["slope"][1:], grads["offset"][1:]])

        size = np.abs(gradient(tree.map(lambda a: 1.1 * a + 0.1, params)))
        assert size.min() > 0
        assert np.max(np.abs(gradient(params)) / size) < 1e-9


@pytest.mark.parametrize("variance", ["beta"])
@pytest.mark.parametrize("kind", ["noise", "data", "v", "score", "mean"])
def test_the_elbo_weight_is_the_part_of_the_bound_that_has_parameters(kind, variance):
    """Between two networks the bound's terms differ by exactly the weighted losses, t = 1 too."""
    schedule, rng = linear(9, 0.02, 0.3), np.random.default_rng(0)
    loss = Denoising(Line(), schedule, kind, "elbo", variance=variance)
    bound = VariationalBound(Line(), schedule, kind, variance)
    data, drawn, t = rng.normal(size=(9, 2)), rng.normal(size=(9, 2)), np.arange(1, 10)
    pair = [{n: rng.normal(size=10) for n in ("slope", "offset")} for _ in range(2)]
    weighted = [loss.value(p, data, drawn, t)[0]["loss"] for p in pair]
    terms = [schedule.T * bound.value(p, data, drawn, t).term.nats for p in pair]
    np.testing.assert_allclose(weighted[1] - weighted[0], terms[1] - terms[0], rtol=1e-10)


@pytest.mark.parametrize("path", [VP(), VE(0.02, 5.0), CosinePath(), EDM(3.0)], ids=repr)
@pytest.mark.parametrize("kind", ["noise", "data", "v", "velocity"])
def test_the_elbo_weight_turns_the_best_errors_into_information(path, kind):
    """∫ ½ |λ'| E‖noise − E[noise | x]‖² dt is by how much less x tells of the data at the end.

    For Gaussian data that is ½ log (1 + SNR s²), first time minus last.
    """
    first, last = 0.02, 0.9
    nodes, weights = np.polynomial.legendre.leggauss(60)
    t, weights = first + (last - first) * 0.5 * (1 + nodes), 0.5 * (last - first) * weights
    loss = Denoising(Best(WORLD, path, kind, 1000.0), path, kind, "elbo", times=SHORT)
    total = 0.0
    for at, w in zip(t, weights, strict=True):
        choice = signs(2)
        data, drawn = MEAN + STD * choice[:, :1], choice[:, 1:]
        total += w * loss.value({}, data, drawn, np.full(4, at))[0]["loss"].mean()
    told = [0.5 * np.log1p(np.exp(log_snr(path, at)) * STD**2) for at in (first, last)]
    assert total == pytest.approx(told[0] - told[1], rel=1e-8)


def test_draws_come_from_the_clock_that_was_asked_for():
    place = Noise(0)
    t = UniformTimes(0.2, 0.6)(place, 4000)
    assert 0.2 < t.min() < 0.201
    assert 0.599 < t.max() < 0.6
    assert abs(t.mean() - 0.4) < 0.01
    level = np.log(80 * LogNormalTimes()(place, 4000))
    assert abs(level.mean() + 1.2) < 0.06
    assert abs(level.std() - 1.2) < 0.05


class Recorder:
    """Answers with 0, and remembers what it was told."""

    def __init__(self):
        self.told, self.given = [], []

    def forward(self, params, x, t, **given):
        """Return (0, None)."""
        self.told.append(np.asarray(t))
        self.given.append(given)
        return 0 * x, None


def test_a_network_is_told_whole_times_thousandths_or_the_noise_level():
    data, model = np.zeros((500, 1)), Recorder()
    Denoising(model, cosine(7)).forward({}, data, Noise(0), labels="of the batch")
    assert set(model.told[-1]) == set(range(1, 8))
    assert model.given[-1] == {"labels": "of the batch"}
    Denoising(model, VP(), times=SHORT).forward({}, data, Noise(0))
    assert 10 < model.told[-1].min() < 20
    assert 960 < model.told[-1].max() < 980
    Denoising(model, EDM(80.0), "data", times=SHORT, told="sigma").forward({}, data, Noise(0))
    assert 0.8 < model.told[-1].min() < 1.6
    levels = of_noise_levels(geometric(4, 1.0, 0.1))
    Denoising(model, levels, told="sigma").forward({}, data, Noise(0))
    np.testing.assert_allclose(np.unique(model.told[-1]), geometric(4, 1.0, 0.1)[::-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [n for n in PROCESSES if n != "no signal"])
def test_a_prediction_can_be_asked_for_as_any_other(name, kind):
    if blind(name, kind):
        return
    world = Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.05, 0.2]))
    process, x = PROCESSES[name], np.linspace(-2, 2, 7)[:, None]
    loss = Denoising(Line(), process, kind, times=SHORT)
    discrete = hasattr(loss.path, "T")
    model = Best(world, loss.path, kind, 1.0 if discrete else 1000.0)
    loss = Denoising(model, process, kind, times=SHORT)
    times = np.arange(2, 9) if discrete else np.linspace(0.1, 0.9, 7)
    for asked in KINDS if discrete else KINDS[:-1]:
        one = np.concatenate(
            [loss.predict({}, x[i : i + 1], t, asked) for i, t in enumerate(times)]
        )
        each = loss.predict({}, x, times, asked)
        np.testing.assert_allclose(each, one, rtol=1e-12)
        levels = loss.path.levels(times)
        earlier = loss.path.levels(times - 1) if discrete else None
        data = world.data_mean(x, levels.a, levels.b)
        exact = convert(x, data, "data", asked, levels, earlier=earlier)
        np.testing.assert_allclose(each, exact, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("process", [cosine(10), VP()], ids=["schedule", "path"])
def test_float32_stays_float32(process):
    network = TimeMLP(2, 4, 1, embedding=4)
    params = tree.map(lambda a: a.astype(np.float32), some(network, Noise(0)))
    loss = Denoising(network, process, "v", "min-snr")
    terms, cache = loss.forward(params, np.ones((3, 2), np.float32), Noise(0))
    grads = loss.backward(np.ones(3, np.float32), cache)
    assert {a.dtype for a in [terms["loss"], *tree.leaves(grads)]} == {np.dtype(np.float32)}
    assert loss.predict(params, np.ones((3, 2), np.float32), 1).dtype == np.float32


def test_what_cannot_be_is_refused_with_the_reason():
    schedule = cosine(10)
    with pytest.raises(ValueError, match="there are simple, data, v"):
        Denoising(Line(), schedule, weight="snr")
    with pytest.raises(ValueError, match="unknown prediction 'epsilon'"):
        Denoising(Line(), schedule, "epsilon")
    with pytest.raises(ValueError, match="predict v there"):
        Denoising(Line(), zero_terminal(schedule), "noise")
    for weight in ("simple", "elbo"):
        with pytest.raises(ValueError, match="at t = 10 no signal is left"):
            NoisePrediction(Line(), zero_terminal(schedule), weight)
    with pytest.raises(ValueError, match="predict v there"):
        Denoising(Line(), CosinePath(), "noise")  # no signal is left at t = 1, which is drawn
    Denoising(Line(), CosinePath(), "v")
    Denoising(Line(), CosinePath(), "noise", times=UniformTimes(last=0.999))
    with pytest.raises(ValueError, match="a mean is that of a step"):
        Denoising(Line(), VP(), "mean")
    with pytest.raises(ValueError, match="told one of time, sigma"):
        Denoising(Line(), schedule, told="snr")
    with pytest.raises(ValueError, match="first < last"):
        UniformTimes(0.5, 0.5)


def test_a_weight_may_be_a_function_of_the_levels():
    schedule, rng = cosine(10), np.random.default_rng(0)
    params = {n: rng.normal(size=11) for n in ("slope", "offset")}
    data = rng.normal(size=(5, 2))
    named, own = (
        Denoising(Line(), schedule, "v", weight).forward(params, data, Noise(0))[0]["loss"]
        for weight in ("data", lambda levels: levels.b**2)
    )
    np.testing.assert_allclose(named, own, rtol=1e-14)


def test_settings_reach_the_weight():
    schedule, data = of_schedule(cosine(10)), np.ones((20, 1))
    params = {n: np.zeros(11) for n in ("slope", "offset")}
    losses = [
        Denoising(Line(), schedule, "noise", "min-snr", {"gamma": gamma}).forward(
            params, data, Noise(0)
        )[0]["loss"]
        for gamma in (0.5, 5.0)
    ]
    assert np.all(losses[0] <= losses[1])
    assert not np.allclose(*losses)


def test_the_page_is_numpys():
    assert Denoising(Line(), cosine(3)).ops is ops
