"""Score models: what they learn, where their walks arrive, what their densities are worth."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, tree
from refgen.data import Dataset
from refgen.exact import Gaussian, Mixture
from refgen.noise import Noise
from refgen.objectives.denoising import CLOCK
from refgen.processes.parametrization import convert
from refgen.systems.edm import EDM
from refgen.systems.ncsn import NCSN
from refgen.systems.score_sde import SPACINGS, Levelled
from refgen.systems.system import draw
from refgen.systems.ve_sde import VESDE
from refgen.systems.vp_sde import VPSDE
from refgen.training import Recipe, train
from tests.laws.affine import moments
from tests.objectives.models import witness

pytestmark = pytest.mark.tiny
IMAGE, POINT = (4, 4, 1), (2,)
TINY: dict[str, Any] = {"hidden": 16, "blocks": 1}
WORLD = Gaussian(np.array([0.5, -0.3]), np.array([[0.6, 0.2], [0.2, 0.4]]))
WIDE: dict[str, Any] = {"L": 10, "sigma_first": 0.1, "sigma_last": 20.0, "inner": 40}
WIDE |= {"step": 0.3, "plain_step": 0.1}
PAIR = Mixture(np.array([0.2, 0.8]), np.array([[-5.0, -5.0], [5.0, 5.0]]), np.ones(2))


def cases():
    """Return every system in every form, small."""
    return {
        "vp": VPSDE(POINT, **TINY),
        "vp of v": VPSDE(POINT, kind="v", weight="min-snr", **TINY),
        "vp unet": VPSDE(IMAGE, model="unet", clip=1.0, **TINY),
        "sub-vp": VPSDE(POINT, via="sub-vp", first_time=0.01, **TINY),
        "ve": VESDE(POINT, data_std=2.0, **TINY),
        "ve of scores": VESDE(POINT, kind="score", sigma_first=0.1, **TINY),
        "ve dit": VESDE(IMAGE, model="dit", clip=1.0, **TINY),
        "edm": EDM(POINT, churn=5.0, **TINY),
        "edm dit": EDM(IMAGE, model="dit", **TINY),
        "ncsn": NCSN(POINT, **TINY),
        "ncsn dit": NCSN(IMAGE, model="dit", clip=1.0, **TINY),
    }


each = pytest.mark.parametrize("name", cases())


@each
@settings(max_examples=3)
@given(seed=st.integers(0, 2**31))
def test_the_gradient_of_the_turn_is_the_adjoint_of_its_loss(name, seed):
    system, rng = cases()[name], np.random.default_rng(seed)
    (turn,) = system.turns()
    start = tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), system.init(Noise(seed)))
    batch = rng.normal(size=(3, *system.shape))

    def forward(params):
        terms, _ = turn.gradient({"model": params}, batch, Noise(seed))
        return np.mean(terms["loss"], keepdims=True), params

    def backward(dloss, params):
        _, grads = turn.gradient({"model": params}, batch, Noise(seed))
        return tree.map(lambda g: dloss[0] * g, grads)

    assert witness(forward, backward, start["model"], rng) < 1e-12


@each
def test_twenty_steps_and_a_sample_of_each_sampler_are_finite(name):
    system = cases()[name]
    data = np.tanh(np.random.default_rng(0).normal(size=(64, *system.shape))).astype(np.float32)
    kind = "images" if len(system.shape) == 3 else "points"
    state = train(system, Dataset("some", data, None, kind, 0), Recipe(20, batch=8, warmup=5))
    for sampler in system.samplers:
        for steps in (1, 2, 5):
            x = draw(system, state.average, 3, Noise(1), sampler=sampler, steps=steps)
            assert x.shape == (3, *system.shape)
            assert x.dtype == np.float32
            assert np.isfinite(x).all(), (sampler, steps)


@each
def test_samples_depend_on_the_place_alone(name):
    system = replace(cases()[name], clip=0.0)
    params = tree.map(lambda a: a + 0.1, system.init(Noise(0)))
    for sampler in system.samplers:
        one, again, more, other = (
            draw(system, params, count, Noise(seed), sampler=sampler, steps=3)
            for count, seed in ((2, 3), (2, 3), (4, 3), (2, 4))
        )
        assert np.array_equal(one, again)
        np.testing.assert_allclose(more[:2], one, rtol=1e-9)  # companions change nothing
        assert not np.allclose(one, other)
    with pytest.raises(ValueError, match=r"no sampler 'dim': (it has|did you mean)"):
        draw(system, params, 2, Noise(3), sampler="dim")
    with pytest.raises(ValueError, match="cannot take -1 sampling steps"):
        draw(system, params, 2, Noise(3), steps=-1)


@pytest.mark.parametrize(
    ("make", "wrong", "said"),
    [
        (VPSDE, {"via": "vq"}, "unknown path 'vq'.* vp, sub-vp"),
        (VPSDE, {"sampler": "edm"}, "unknown sampler 'edm'; there are reverse-sde"),
        (VPSDE, {"spacing": "even"}, "unknown spacing 'even'; there are time, noise, karras"),
        (VPSDE, {"first_time": 0.0}, "first_time lies between 0 and 1"),
        (VPSDE, {"kind": "nose"}, "unknown prediction 'nose'"),
        (VPSDE, {"weight": "snr"}, "unknown loss weight 'snr'"),
        (VPSDE, {"sample_steps": 0}, "sample_steps are 1 or more"),
        (VESDE, {"clip": -1.0}, "clip is a limit on the data"),
        (VESDE, {"sigma_first": 30.0}, "VE: 0 < first < last"),
        (VESDE, {"data_std": 0.0}, "deviation above 0"),
        (EDM, {"kind": "noise"}, "an EDM says data"),
        (EDM, {"churn": -1.0}, "churn ≥ 0"),
        (EDM, {"sigma_first": 90.0}, "0 < last < first"),
        (NCSN, {"L": 1}, "L ≥ 2"),
        (NCSN, {"step": 4.0}, "below 4"),
        (NCSN, {"inner": 0}, "1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, wrong, said):
    with pytest.raises(ValueError, match=said):
        make(POINT, **{**TINY, **wrong})


# In a Gaussian world, with the exact network in place.


@dataclass(frozen=True)
class Exact:
    """What a system's network would say if it had learned all there is of a world."""

    world: Any
    path: Any
    kind: str
    last: float = 0.0  # σ of t = 1 where the network is told σ

    def at(self, t):
        """Return the levels that all of a batch are at."""
        assert np.ptp(t) == 0
        return self.path.levels(t[0] / self.last if self.last else t[0] / CLOCK)

    def forward(self, params, x, t):
        """Return (y, cache)."""
        levels = self.at(t)
        data = self.world.data_mean(x, levels.a, levels.b)
        y = data if self.kind == "data" else convert(x, data, "data", self.kind, levels)
        return y, t

    def backward(self, dy, t):
        """Return (dx, {}), dx being (∂y/∂x)ᵀ dy: y is affine in x, and its matrix symmetric."""
        return self.forward(None, dy, t)[0] - self.forward(None, 0 * dy, t)[0], {}


@cache
def knowing(make, world=WORLD):
    """Return the subclass of a system whose network is exact."""

    @dataclass(frozen=True)
    class Knowing(make):
        @property
        def network(self):
            return Exact(world, self.path, self.kind, getattr(self, "sigma_last", 0) * self.told)

        @property
        def told(self):
            return issubclass(make, EDM)

    return Knowing


FAR: dict[str, Any] = {"beta_last": 40.0, "spacing": "noise"}  # no signal is left at t = 1
KNOWING = {
    "vp": knowing(VPSDE)(POINT, **FAR),
    "vp of data": knowing(VPSDE)(POINT, kind="data", **FAR),
    "sub-vp": knowing(VPSDE)(POINT, via="sub-vp", first_time=0.01, **FAR),
    "ve": knowing(VESDE)(POINT, sigma_last=500.0, spacing="noise"),
    "ve of scores": knowing(VESDE)(POINT, kind="score", sigma_last=500.0, spacing="noise"),
    "edm": knowing(EDM)(POINT, sigma_first=0.01, sigma_last=500.0, churn=4.0),
}
PARAMS = {"model": {"none": np.zeros(1)}}
ROUGH = {"reverse-sde": 0.05, "predictor-corrector": 0.05, "ddim": 0.05}  # first order, 150 steps


def arrives(system, sampler, steps):
    """Return mean and covariance of samples, without a draw."""

    def sample(x, ops):
        place = replace(system, ops=ops)
        return place.sample(PARAMS, len(x), Noise(0), sampler=sampler, steps=steps)

    return moments(sample, np.zeros(2), np.zeros((2, 2)))


@pytest.mark.parametrize("name", KNOWING)
def test_every_sampler_arrives_at_the_data(name):
    """A start of the wrong deviation, or b/a where b belongs, is many errors away."""
    system = KNOWING[name]
    for sampler in system.samplers:
        mean, cov = arrives(system, sampler, 150)
        most = ROUGH.get(sampler, 0.012)
        assert np.abs(mean - WORLD.mean).max() < most, sampler
        assert np.abs(cov - WORLD.cov).max() < most, sampler


@pytest.mark.parametrize("name", KNOWING)
def test_a_walk_of_one_step_ends_in_the_mean_of_the_data(name):
    system = KNOWING[name]
    a, b, _, _ = system.path.levels(1.0)
    x = b * Noise(0).at("start").normal((5, 2))
    found = system.sample(PARAMS, 5, Noise(0), steps=1)
    np.testing.assert_allclose(found, WORLD.data_mean(x, a, b), rtol=1e-6)


@pytest.mark.parametrize("sampler", ["reverse-sde", "dpm-solver", "ddim", "edm"])
def test_more_steps_come_nearer(sampler):
    system = replace(KNOWING["edm"], sigma_first=1e-3)
    far, near = (np.abs(arrives(system, sampler, n)[1] - WORLD.cov).max() for n in (16, 64))
    assert near < 0.4 * far


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", ["vp", "sub-vp", "ve", "edm"])
def test_times_fall_from_1_to_where_training_began(name, spacing):
    system = replace(KNOWING[name], spacing=spacing)
    for steps in (1, 2, 3, 10):
        times = system.times(steps)
        assert len(times) == steps
        assert times[0] == 1.0
        assert times[-1] == (system.first if steps > 1 else 1.0)
        assert all(np.diff(times) < 0)
    levels = [system.path.levels(t) for t in system.times(9)]
    sigma = np.array([level.b / level.a for level in levels])
    if spacing == "noise":
        np.testing.assert_allclose(sigma[1:] / sigma[:-1], sigma[1] / sigma[0])
    if spacing == "karras":
        np.testing.assert_allclose(np.diff(sigma ** (1 / 7), 2), 0, atol=1e-7)


CALLS = {  # of n steps
    "reverse-sde": lambda n: n,
    "predictor-corrector": lambda n: n + 2 * (n - 1),
    "probability-flow": lambda n: 2 * n - 1,
    "dpm-solver": lambda n: n,
    "ddim": lambda n: n,
    "edm": lambda n: 2 * n - 1,
    "heun": lambda n: 2 * n - 1,
}


@pytest.mark.parametrize("name", ["vp", "ve", "edm"])
def test_walks_call_the_network_as_often_as_they_say(name):
    system = replace(KNOWING[name], corrections=2)
    predict = system.predictor(PARAMS)
    for sampler in system.samplers:
        for steps in range(1, 7):
            asked = []

            def counting(x, t, asked=asked):
                asked.append(t)
                return predict(x, t)

            system.walk(counting, np.ones((2, 2)), Noise(0), sampler=sampler, steps=steps)
            assert len(asked) == CALLS[sampler](steps), (sampler, steps)


@pytest.mark.parametrize("name", KNOWING)
def test_the_density_of_the_flow_is_that_of_the_data_at_the_first_time(name):
    """A divergence without f D, or a prior of the wrong deviation, is off by nats."""
    system, x = KNOWING[name], WORLD.sample(20, Noise(3))
    a, b, _, _ = system.path.levels(system.first)
    exact = WORLD.log_density(x, float(a), float(b))
    lost = 4e-3  # σ_data/500, where signal is left at t = 1
    np.testing.assert_allclose(system.log_density(PARAMS, x), exact, atol=lost)
    one = x[:1]
    guesses = [system.log_density(PARAMS, one, steps=40, noise=Noise(i))[0] for i in range(24)]
    error = np.std(guesses) / np.sqrt(len(guesses))
    assert abs(np.mean(guesses) - exact[0]) < 3.5 * error + lost
    assert error > 0


@pytest.mark.parametrize("name", ["ve", "ve dit", "ncsn", "ncsn dit"])
def test_a_density_and_a_loss_go_back_through_the_scale_of_the_input(name):
    """The derivative of a network by its input, as the divergence asks for it."""
    system, rng = cases()[name], np.random.default_rng(0)
    network = system.network
    params = tree.map(lambda a: a + 0.2 * rng.normal(size=a.shape), network.init(Noise(0)))
    x, along, dy = (rng.normal(size=(3, *system.shape)) for _ in range(3))
    t = np.full(3, 2) if "ncsn" in name else np.full(3, 700.0)
    _, cache = network.forward(params, x, t)
    dx, _ = network.backward(dy, cache)
    moved = check.complex_step(lambda x: network.forward(params, x, t)[0], [x], [along])
    assert check.adjoint_gap([along], [dx], [dy], [moved]) < 1e-12


@pytest.mark.parametrize("name", ["vp", "sub-vp", "ve", "ncsn"])
def test_a_network_sees_inputs_of_deviation_one(name):
    std = 1.7
    system = replace(cases()[name], data_std=std)
    seen = []

    class Eye:
        def forward(self, params, x, t):
            seen.append(x)
            return x, None

    network = Levelled(Eye(), system.path, std)
    for t in (1, 4, 10) if name == "ncsn" else (1.0, 300.0, 1000.0):
        a, b = system.path.levels(t if name == "ncsn" else t / CLOCK)[:2]
        x = np.sqrt((a * std) ** 2 + b * b) * np.array([[1.0, -1.0]])
        network.forward({}, x, np.full(1, t))
        np.testing.assert_allclose(seen.pop(), [[1.0, -1.0]])


def test_edm_weighs_an_error_of_its_inner_network_the_same_at_every_level():
    """λ c_out² = 1: with weights on the noise's error instead, the large levels would be lost."""
    system, rng = EDM(POINT, **TINY), np.random.default_rng(0)
    data, noise = np.zeros((1, 2)), rng.normal(size=(1, 2))
    params = system.init(Noise(0))["model"]  # whose inner network says 0
    for sigma in (0.01, 0.5, 30.0):
        terms, _ = system.objective.value(params, data, noise, np.array([sigma / 80.0]))
        skip = 0.25 / (sigma**2 + 0.25)
        inner_error = (
            (skip * sigma) ** 2 * np.sum(noise**2) * (sigma**2 + 0.25) / (0.5 * sigma) ** 2
        )
        np.testing.assert_allclose(terms["loss"], inner_error)


# Annealed Langevin dynamics.


def exact_score(world):
    """Return (x, σ) ↦ the score of the data with noise of σ."""
    return lambda x, sigma: world.score(x, 1.0, sigma)


def test_annealing_is_the_algorithm_of_the_lecture_line_by_line():
    system = NCSN(POINT, L=3, sigma_first=0.5, sigma_last=4.0, step=0.3, denoise=False, **TINY)
    x, score, epsilon = Noise(0).normal((5, 2)), exact_score(PAIR), 0.3 * 0.5**2
    wanted = x
    for i, sigma in enumerate([4.0, np.sqrt(2.0), 0.5]):
        alpha = epsilon * sigma**2 / 0.5**2
        for t in range(7):
            z = Noise(1).at("level", i, "step", t).normal((5, 2))
            wanted = wanted + alpha / 2 * score(wanted, sigma) + np.sqrt(alpha) * z
    np.testing.assert_allclose(system.walk(score, x, Noise(1), 7), wanted, rtol=1e-12)
    denoised = replace(system, denoise=True).walk(score, x, Noise(1), 7)
    np.testing.assert_allclose(denoised, wanted + 0.25 * score(wanted, 0.5), rtol=1e-12)


def test_annealing_recovers_the_weights_of_two_modes_and_plain_langevin_does_not():
    """The lecture's figure with exact scores, as many calls for both."""
    system, count = NCSN(POINT, **WIDE, **TINY), 4000
    start, asked = 20.0 * Noise(0).normal((count, 2)), []

    def score(x, sigma):
        asked.append(sigma)
        return exact_score(PAIR)(x, sigma)

    shares = []
    for walk in (system.walk, replace(system, denoise=False).plainly):
        asked.clear()
        x = walk(score, start, Noise(2), system.inner)
        assert len(asked) - system.denoise <= 400 <= len(asked)
        shares.append(np.mean(x[:, 0] < 0))
    assert abs(shares[0] - 0.2) < 0.03
    assert abs(shares[1] - 0.5) < 0.03  # where it began, not where the data are


def test_the_score_of_the_system_is_its_noise_over_the_level():
    system = NCSN(POINT, **TINY)
    params = tree.map(lambda a: a + 0.1, system.init(Noise(0)))
    x, objective = Noise(1).normal((4, 2)), system.objective
    for i, sigma in enumerate(system.sigmas):
        wanted = objective.predict(params["model"], x, system.L - i, "score")
        np.testing.assert_allclose(system.score(params)(x, sigma), wanted, rtol=1e-10)
