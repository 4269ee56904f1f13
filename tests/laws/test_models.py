"""Laws of the networks, and of the whole systems at their start."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, tree
from refgen.layers import Activation, Dense
from refgen.models import CouplingFlow, TimeMLP, mlp
from refgen.noise import Noise
from refgen.systems import SYSTEMS, build

pytestmark = pytest.mark.tiny


def shaken(params, seed=0):
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), params)


@given(dim=st.integers(2, 7), layers=st.integers(1, 6), seed=st.integers(0, 2**31))
def test_a_flow_is_undone_by_its_inverse_and_knows_its_volume(dim, layers, seed):
    flow = CouplingFlow(dim, layers, hidden=6)
    params = shaken(flow.init(Noise(seed)), seed)
    x = np.random.default_rng(seed).normal(size=(3, dim))
    z, logdet, _ = flow.forward(params, x)
    np.testing.assert_allclose(flow.inverse(params, z), x, atol=1e-10)
    for row, volume in zip(x, logdet, strict=True):
        gap = check.logdet_gap(lambda v: flow.forward(params, v[None])[0][0], float(volume), row)
        assert gap < 1e-9


def test_four_couplings_let_every_feature_act_on_every_other():
    flow = CouplingFlow(6, layers=4, hidden=8)
    params = shaken(flow.init(Noise(0)))
    jacobian = check.jacobian(lambda v: flow.forward(params, v[None])[0][0], np.ones(6))
    assert (np.abs(jacobian) > 1e-9).all()


def test_a_flow_starts_as_the_identity():
    flow = CouplingFlow(4)
    x = np.random.default_rng(0).normal(size=(5, 4))
    z, logdet, _ = flow.forward(flow.init(Noise(0)), x)
    assert np.array_equal(z, x)
    assert not logdet.any()


def test_a_noise_predictor_starts_at_zero_and_tells_times_apart():
    model = TimeMLP(3, hidden=16, blocks=2)
    params = model.init(Noise(0))
    x = np.ones((2, 3))
    assert not model.forward(params, x, np.array([1, 900]))[0].any()
    y, _ = model.forward(shaken(params), x, np.array([1, 900]))
    assert not np.allclose(y[0], y[1])


def test_layers_keep_the_spread_of_their_input():
    """Fan-in scaling: unit inputs stay near unit variance through a deep MLP."""
    net = mlp((64, *[256] * 6, 64))
    y, _ = net.forward(net.init(Noise(0)), Noise(1).normal((200, 64)))
    assert 0.1 < y.std() < 2


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Dense(0, 3), "at least 1"),
        (lambda: mlp((3,)), "input and an output"),
        (lambda: Activation("swish"), "unknown activation"),
        (lambda: CouplingFlow(1), "at least 2"),
        (lambda: TimeMLP(2, blocks=0), "at least 1"),
        (lambda: build("vea", (2,), {}), "did you mean 'vae'"),
        (lambda: build("vae", (2,), {"hiden": 3}), "did you mean 'hidden'"),
        (lambda: build("vae", (2,), {"likelihood": "poisson"}), "gaussian"),
        (lambda: build("vae", (2,), {"var": -1.0}), "positive"),
        (lambda: build("ddpm", (2,), {"schedule": "sine"}), "unknown schedule"),
        (lambda: build("ddpm", (2,), {"weight": "snr"}), "simple, elbo"),
        (lambda: build("gan", (2,), {"generator_loss": "hinge"}), "nonsaturating"),
        (lambda: build("gan", (2,), {"k": 0}), "k ≥ 1"),
        (lambda: build("gan", (2,), {"hidden": 0}), "at least 1"),
        (lambda: build("vae", (2,), {"depth": -1}), "depth"),
        (lambda: build("gan", (2,), {"depth": -1}), "depth"),
        (lambda: build("realnvp", (2,), {"levels": -1}), "levels"),
        (lambda: build("ddpm", (2,), {"T": 0}), "T ≥ 1"),
        (lambda: build("ddpm", (2,), {"variance": "small"}), "beta, posterior"),
        (lambda: build("ddpm", (2,), {"clip": -1.0}), "clip"),
        (lambda: build("realnvp", (2,), {"layers": 0}), "at least 1"),
        (lambda: build("realnvp", (1,), {}), "at least 2"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_a_layer_that_is_given_the_wrong_width_says_which_axis():
    layer = Dense(4, 2)
    with pytest.raises(ValueError, match="last axis must be 4"):
        layer.forward(layer.init(Noise(0)), np.ones((3, 5)))


DRAWING = [n for n, e in SYSTEMS.items() if hasattr(e.make, "sample") and e.family != "imitation"]


@pytest.mark.parametrize("name", DRAWING)
def test_a_system_draws_examples_of_its_shape_and_refuses_what_it_lacks(name):
    """Policies draw walks: tests/systems/test_policies.py."""
    few = {f.name for f in fields(SYSTEMS[name].make)} & {"T"}
    system = build(name, (2, 2, 1), {"hidden": 8, **dict.fromkeys(few, 10)})
    params = tree.map(lambda a: a.astype(np.float32), system.init(Noise(0)))
    samples = system.sample(params, 3, Noise(1))
    assert samples.shape == (3, 2, 2, 1)
    assert samples.dtype == np.float32
    assert np.array_equal(samples, system.sample(params, 3, Noise(1)))
    with pytest.raises(ValueError, match="has no sampler"):
        system.sample(params, 1, Noise(1), sampler="guess")
    with pytest.raises(ValueError, match="sampling steps"):
        system.sample(params, 1, Noise(1), steps=-1)


def test_the_samples_of_a_ddpm_do_not_depend_on_how_many_are_drawn_when_nothing_is_added():
    """DDIM draws only the start; element i of the start has an address of its own."""
    system = build("ddpm", (2,), {"hidden": 8, "T": 10})
    params = shaken(system.init(Noise(0)))
    few = system.sample(params, 3, Noise(1), sampler="ddim")
    many = system.sample(params, 5, Noise(1), sampler="ddim")
    np.testing.assert_allclose(few, many[:3], rtol=1e-12)
