"""Learnt variances and DDIM as systems: gradients, what the bound comes to, sampling, inversion."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, tree
from refgen.cli.judging import likelihood
from refgen.cli.systems import works
from refgen.data import load
from refgen.exact import Gaussian, LinearGaussianChain
from refgen.models.dit import DiT
from refgen.models.mlp import TimeMLP
from refgen.models.unet import UNet
from refgen.noise import Noise
from refgen.objectives.discretized import Bins, matched
from refgen.processes.discrete import of_schedule
from refgen.processes.schedule import cosine
from refgen.samplers.ancestral import sample_ancestral, sample_ancestral_learned
from refgen.samplers.ddim import sample_ddim
from refgen.systems import build
from refgen.systems.ddim import DDIM
from refgen.systems.ddpm import DDPM
from refgen.systems.entries.diffusion import ENTRIES
from refgen.systems.improved_ddpm import KINDS, LOSSES, ImprovedDDPM, cosine_from
from tests.objectives.models import Best

pytestmark = pytest.mark.tiny
IMAGE, POINT = (4, 4, 1), (2,)
TINY = {"T": 6, "hidden": 16, "blocks": 1}


def cases():
    """Return the improved system in every form, small."""
    found = {}
    for loss in LOSSES:
        for kind in KINDS:
            found[f"{loss} of {kind}"] = ImprovedDDPM(POINT, loss=loss, kind=kind, **TINY)
        for model in ("mlp", "unet", "dit"):
            found[f"{loss} {model}"] = ImprovedDDPM(
                IMAGE, loss=loss, levels=5, model=model, kind="v", **TINY
            )
    return found


each = pytest.mark.parametrize("name", cases())


def batch_of(system, rng, count=4):
    """Return data that the system takes."""
    shape = (count, *system.shape)
    return rng.choice(Bins(5).levels, size=shape) if system.levels else rng.normal(size=shape)


def shaken(system, seed=0, size=0.3):
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + size * rng.normal(size=a.shape), system.init(Noise(seed)))


class Held:
    """A network whose prediction stays where it was while its variances follow the parameters."""

    def __init__(self, network, params, channels):
        self.network, self.params, self.channels = network, params, channels

    def forward(self, params, x, t):
        """Return (y, None)."""
        moves, _ = self.network.forward(params, x, t)
        stays, _ = self.network.forward(self.params, x, t)
        return np.concatenate(
            [stays[..., : self.channels], moves[..., self.channels :]], axis=-1
        ), None


@each
@settings(max_examples=3)
@given(seed=st.integers(0, 2**31))
def test_the_gradient_is_the_adjoint_of_the_loss(name, seed):
    """The hybrid's is that of a loss whose bound holds the prediction fixed: one trunk for both."""
    system, rng = cases()[name], np.random.default_rng(seed)
    params, data = shaken(system, seed), batch_of(system, rng)
    theta, place = params["model"], Noise(seed)
    _, grads = system.gradient(params, data, place)
    direction = tree.map(lambda a: rng.normal(size=a.shape), theta)
    held = replace(system.bound, model=Held(system.network, theta, system.shape[-1]))

    def loss(*moved):
        named = tree.unflatten(dict(zip(tree.flatten(theta), moved, strict=True)))
        terms, _ = system.gradient({"model": named}, data, place)
        if system.loss == "bound":
            return np.mean(terms["loss"])
        bound, _ = held.forward(named, data, place)
        return np.mean(terms["simple"] + system.weight * bound["loss"])

    leaves = [list(tree.leaves(a)) for a in (theta, direction, grads)]
    along = check.complex_step(loss, leaves[0], leaves[1])
    assert check.adjoint_gap(leaves[1], leaves[2], [np.ones(())], [along]) < 1e-12


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_the_system_works_and_its_recipe_can_be_built(entry):
    assert works(entry)
    for kind, shape in (("images", (8, 8, 1)), ("points", POINT)):
        for model in ("", *(entry.models if kind == "images" else ())):
            wanted = entry.recipe(kind, model) | ({"model": model} if model else {})
            own = {k: v for k, v in wanted.items() if k not in ("steps", "batch", "lr")}
            system = build(entry.id, shape, own)
            assert system.network.init(Noise(0))


def exact(kind, T=40, mean=0.4, std=0.6):
    """Return a system whose network knows data N(mean, std²), and its parameters."""
    system = ImprovedDDPM((1,), T=T, kind=kind, hidden=8, blocks=1)
    schedule, world = system.process, Gaussian(np.array([mean]), np.array([[std**2]]))
    low = schedule.posterior_var.copy()
    low[1] = low[2]
    var = LinearGaussianChain.reverse(schedule, mean, std**2).var
    with np.errstate(divide="ignore", invalid="ignore"):
        r = 2 * (np.log(var) - np.log(low)) / (np.log(schedule.beta) - np.log(low)) - 1

    class Network:
        def forward(self, params, x, t):
            y, _ = Best(world, of_schedule(schedule), kind).forward({}, x, t)
            return np.concatenate([y, r[t.astype(int)][:, None] + 0 * y], axis=1), None

    network = Network()

    class Exact(ImprovedDDPM):
        @property
        def network(self):
            return network

    return Exact((1,), T=T, kind=kind, hidden=8, blocks=1), {"model": {"x": np.zeros(1)}}, world


@pytest.mark.parametrize("kind", KINDS)
def test_the_exact_network_pays_the_entropy_of_its_data_and_draws_them(kind):
    """Its kernels are the true reverse ones: nothing is lost but at the two ends of the walk."""
    system, params, world = exact(kind)
    data = world.sample(20_000, Noise(1))
    nats = system.nats(params, data, Noise(2), parts=39)
    error = np.std(nats + world.log_density(data)) / np.sqrt(len(nats))
    assert abs(np.mean(nats + world.log_density(data))) < 4 * error + 1e-4
    assert error < 0.02
    x = system.sample(params, 20_000, Noise(3))
    assert np.mean(x) == pytest.approx(0.4, abs=0.02)
    variance = np.var(x) + system.process.beta[1]  # the last step draws nothing
    assert variance == pytest.approx(0.36, rel=0.03)


def test_few_parts_estimate_what_all_terms_come_to():
    """Each part counts for its length: counted once, a thousand terms would be a hundred."""
    system = ImprovedDDPM(IMAGE, levels=5, T=50, hidden=16, blocks=1, kind="v")
    params, rng = shaken(system), np.random.default_rng(0)
    data = np.repeat(batch_of(system, rng, 1), 3000, axis=0)
    all_terms = system.nats(params, data[:300], Noise(1), parts=49)
    direct = -system.bound.terms(params["model"], data[:300], Noise(2)).elbo
    few = system.nats(params, data, Noise(3), parts=4)
    scale = [np.std(a) / np.sqrt(len(a)) for a in (all_terms, direct, few)]
    assert abs(np.mean(all_terms) - np.mean(direct)) < 4 * np.hypot(scale[0], scale[1])
    assert abs(np.mean(few) - np.mean(direct)) < 4 * np.hypot(scale[2], scale[1])
    assert scale[2] < 0.1 * np.mean(direct)


def test_the_first_noise_fits_the_levels_and_the_rest_is_the_cosines_arc():
    """Half a level's width; equal steps of the angle; without levels the plain cosine."""
    system = ImprovedDDPM((8, 8, 1), levels=17, T=100, hidden=8)
    schedule = system.process
    assert schedule.spread(1) == pytest.approx(1 / 16)
    assert schedule.beta[1] == pytest.approx(matched(Bins(17)).beta)
    angle = np.arctan2(schedule.spread(np.arange(1, 101)), schedule.signal(np.arange(1, 101)))
    np.testing.assert_allclose(np.diff(angle, 2), 0, atol=1e-12)
    assert schedule.alpha_bar[-1] == pytest.approx(1e-4)
    assert np.array_equal(replace(system, levels=0).process.beta, cosine(100).beta)
    bound = system.bound.reverse(system.init(Noise(0))["model"], np.zeros((1, 8, 8, 1)), 1)
    sides = np.log([0.25 * 0.41**2 / 64, 0.25 / 64])
    np.testing.assert_allclose(bound[1], np.mean(sides))  # r = 0 is between the two
    linear = replace(system, schedule="linear", T=1000).process
    assert linear.beta[1] == pytest.approx(1e-4)
    with pytest.raises(ValueError, match="first beta lies between 0"):
        cosine_from(1.0, 10)
    assert cosine_from(0.1, 1).beta[1] == pytest.approx(0.1)


@pytest.mark.parametrize(("r", "variance"), [(-1.0, "posterior"), (1.0, "beta"), (0.0, "between")])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_network_of_constant_variance_samples_as_the_fixed_one_does(r, variance, steps):
    """At r = −1 it is β̃, at 1 it is β, over short and long steps; 1 + r would be β twice."""
    system = ImprovedDDPM(IMAGE, levels=5, T=6, hidden=16, blocks=1, kind="noise")
    params = shaken(system)
    network = system.network

    class Constant(ImprovedDDPM):
        @property
        def network(self):
            return self

        def forward(self, params, x, t):
            y = network.forward(params, x, t)[0][..., :1]
            return np.concatenate([y, r + 0 * y], axis=-1), None

    system = Constant(IMAGE, levels=5, T=6, hidden=16, blocks=1, kind="noise")
    found = system.sample(params, 3, Noise(1), steps=steps)
    x = Noise(1).at("start").normal((3, *IMAGE))
    times = (6, 4, 2, 0) if steps else None
    fixed = sample_ancestral(
        lambda x, t: network.forward(params["model"], x, np.full(len(x), t))[0][..., :1],
        x,
        system.process,
        Noise(1).at("walk"),
        times=times,
        variance=variance,
    )
    np.testing.assert_allclose(found, fixed, rtol=1e-9, atol=1e-12)


@each
def test_every_sampler_of_the_improved_system_is_finite_and_depends_on_its_place(name):
    system = cases()[name]
    params = tree.map(lambda a: a.astype(np.float32), shaken(system, size=0.01))
    for sampler in system.samplers:
        x, again = (system.sample(params, 2, Noise(3), sampler=sampler, steps=4) for _ in range(2))
        assert np.array_equal(x, again)
        assert x.dtype == np.float32
        assert np.isfinite(x).all()
    with pytest.raises(ValueError, match=r"1 \.\. 6 sampling steps"):
        system.sample(params, 2, Noise(3), steps=7)
    with pytest.raises(ValueError, match="no sampler 'heun'"):
        system.sample(params, 2, Noise(3), sampler="heun")


def test_the_predictions_of_all_kinds_reach_the_sampler_as_noise():
    """A network that says v was asked for noise: as it stands it would be another walk."""
    walks = []
    for kind in KINDS:
        system, params, _ = exact(kind, T=10)
        walks.append(system.sample(params, 4, Noise(5)))
        noise, v = system.predict(params, np.ones((2, 1)), 4)
        assert noise.shape == v.shape == (2, 1)
    for walk in walks[1:]:
        np.testing.assert_allclose(walk, walks[0], rtol=1e-9)


def ddim(**others):
    system = DDIM(POINT, **{"T": 60, "hidden": 8, "blocks": 1, "sample_steps": 30, **others})
    return system, shaken(system, size=0.1)


def test_ddim_walks_by_ddim_unless_told_otherwise_and_eta_is_heard():
    system, params = ddim()
    own = system.sample(params, 5, Noise(1))
    x = Noise(1).at("start").normal((5, 2))

    def predict(x, t):
        return system.predict_noise(params, x, t)

    times = tuple(range(60, -1, -2))
    walk = Noise(1).at("walk")
    for eta in (0.0, 0.5, 1.0):
        found = replace(system, eta=eta).sample(params, 5, Noise(1))
        exact = sample_ddim(predict, x, system.process, walk, times=times, eta=eta)
        np.testing.assert_allclose(found, exact, rtol=1e-12)
        assert np.array_equal(found, own) == (eta == 0)
    ancestral = system.sample(params, 5, Noise(1), sampler="ancestral")
    np.testing.assert_allclose(
        ancestral,
        DDPM(POINT, T=60, hidden=8, blocks=1, sample_steps=30).sample(params, 5, Noise(1)),
        rtol=1e-12,
    )
    with pytest.raises(ValueError, match="no sampler 'heun'"):
        system.sample(params, 5, Noise(1), sampler="heun")


def test_data_come_back_from_their_noise_and_sooner_with_more_rounds():
    """With the levels of the way up exchanged the error would not fall."""
    system, params = ddim()
    data = Noise(2).normal((6, 2))
    errors = []
    for rounds in (1, 3, 20):
        up = system.invert(params, data, rounds=rounds)
        errors.append(np.abs(system.generate(params, up) - data).max())
    assert errors[0] > 10 * errors[1]
    assert errors[2] < 1e-12
    few = system.invert(params, data, steps=5, rounds=20)
    assert not np.allclose(few, system.invert(params, data, rounds=20), rtol=1e-3)
    np.testing.assert_allclose(system.generate(params, few, steps=5), data, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ImprovedDDPM(POINT, loss="simple"), "hybrid, bound"),
        (lambda: ImprovedDDPM(POINT, kind="score"), "noise, data, v"),
        (lambda: ImprovedDDPM(POINT, clip=-1.0), "0 for all and none"),
        (lambda: ImprovedDDPM(POINT, sample_steps=-1), "0 for all and none"),
        (lambda: ImprovedDDPM(POINT, schedule="sine"), "unknown schedule"),
        (lambda: ImprovedDDPM(POINT, weight=0.0), "weight above 0"),
        (lambda: ImprovedDDPM(POINT, levels=1), "2 or more levels"),
        (lambda: ImprovedDDPM(POINT, model="unet"), "takes images"),
        (lambda: ImprovedDDPM(POINT, levels=2), "two levels are too far apart"),
        (lambda: TimeMLP(2, outputs=0), "outputs is 1 or more"),
        (lambda: UNet(IMAGE, outputs=0), "outputs are at least 1"),
        (lambda: DiT(IMAGE, outputs=0), "outputs are at least 1"),
        (lambda: DDIM(POINT, eta=1.5), "between 0, deterministic"),
        (lambda: ddim()[0].invert(ddim()[1], np.zeros((1, 2)), rounds=0), "one round"),
        (lambda: ddim()[0].invert(ddim()[1], np.zeros((1, 2)), steps=-1), "sampling steps"),
        (lambda: ddim()[0].generate(ddim()[1], np.zeros((1, 2)), steps=61), "sampling steps"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_the_reason(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_data_off_their_levels_and_no_parts_are_refused():
    system = ImprovedDDPM(IMAGE, levels=5, **TINY)
    params, data = system.init(Noise(0)), np.full((2, *IMAGE), 0.1)
    for ask in (system.gradient, system.nats):
        with pytest.raises(ValueError, match="none of 5 levels"):
            ask(params, data, Noise(0))
    with pytest.raises(ValueError, match="1 part or more"):
        system.nats(params, 0 * data, Noise(0), parts=0)


def test_the_learned_sampler_is_what_the_system_walks_with():
    system = ImprovedDDPM(IMAGE, levels=5, clip=1.0, **TINY)
    params = shaken(system)
    exact = sample_ancestral_learned(
        lambda x, t: system.predict(params, x, t),
        Noise(4).at("start").normal((2, *IMAGE)),
        system.process,
        Noise(4).at("walk"),
        clip=1.0,
    )
    np.testing.assert_allclose(system.sample(params, 2, Noise(4)), exact, rtol=1e-12)


def test_what_a_run_is_told_of_its_bound_has_the_baselines_beside_it():
    """In bits where there are levels, else in nats: the mean is that of the system's own terms."""
    digits = load("digits")
    system = ImprovedDDPM(digits.shape, levels=17, **TINY)
    params = tree.map(lambda a: a.astype(np.float32), system.init(Noise(0)))
    told = likelihood("improved-ddpm", system, params, digits, Noise(1))
    assert re.match(r"\d+\.\d{3} bits per dimension, standard error 0\.\d{3}, mean of 500", told[0])
    assert told[1].startswith("without a network: gaussian 2.9")
    assert told[1].endswith("pixel histogram 2.42")
    nats = system.nats(params, digits.split()[1].data, Noise(1).at("terms"), parts=40)
    assert float(told[0].split()[0]) == pytest.approx(np.mean(nats) / 64 / np.log(2), abs=1e-3)
    ring = load("toy:ring")
    points = ImprovedDDPM(ring.shape, **TINY)
    (line,) = likelihood("improved-ddpm", points, points.init(Noise(0)), ring, Noise(1))
    assert re.match(r"-log p at most \d+\.\d{3} nats, mean of 500 held out", line)
