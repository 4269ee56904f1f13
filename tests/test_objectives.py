"""A whole model is witnessed the way an op is: one direction through its parameter tree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, tree
from refgen.noise import Noise
from refgen.systems import build

pytestmark = pytest.mark.tiny
SIZES = {"hidden": 5}


def witness(system, data, seed):
    """Return the adjoint gap of every turn, at random parameters along a random direction."""
    rng = np.random.default_rng(seed)
    params = tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), system.init(Noise(seed)))
    gaps = []
    for turn in system.turns():
        place = Noise(seed).at(turn.player)
        terms, grads = turn.gradient(params, data, place)
        assert terms["loss"].shape == (len(data),)
        direction = tree.map(lambda a: rng.normal(size=a.shape), params[turn.player])

        def mean_loss(*moved, turn=turn, place=place):
            theta = tree.unflatten(dict(zip(tree.flatten(params[turn.player]), moved, strict=True)))
            terms, _ = turn.gradient({**params, turn.player: theta}, data, place)
            return np.mean(terms["loss"])

        along = check.complex_step(
            mean_loss, list(tree.leaves(params[turn.player])), list(tree.leaves(direction))
        )
        gaps.append(
            check.adjoint_gap(
                list(tree.leaves(direction)), list(tree.leaves(grads)), [np.ones(())], [along]
            )
        )
    return gaps


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vae", {"likelihood": "gaussian", "latent": 3, "var": 0.3}),
        ("vae", {"likelihood": "bernoulli", "latent": 3}),
        ("vae", {"depth": 0, "latent": 2}),
        ("ddpm", {"T": 20, "blocks": 2}),
        ("ddpm", {"T": 20, "blocks": 2, "weight": "elbo", "schedule": "linear"}),
        ("ddpm", {"T": 5, "blocks": 1}),
        ("gan", {"latent": 3}),
        ("gan", {"latent": 3, "generator_loss": "minimax", "k": 2}),
        ("realnvp", {"layers": 5}),
        ("realnvp", {"layers": 2, "levels": 17}),
    ],
)
@given(seed=st.integers(0, 2**31), dim=st.integers(2, 5), batch=st.integers(1, 4))
def test_every_gradient_of_a_system_is_the_adjoint_of_its_loss(name, settings, seed, dim, batch):
    system = build(name, (dim,), {**SIZES, **settings})
    data = np.random.default_rng(seed).uniform(-1, 1, size=(batch, dim))
    assert max(witness(system, data, seed)) < 1e-12


def test_the_discriminators_gradient_is_the_sum_of_its_two_applications():
    """With a cache stored in the network the second call would overwrite the first."""
    system = build("gan", (3,), {"hidden": 5, "latent": 2})
    game = system.game
    params, data = system.init(Noise(0)), np.random.default_rng(0).normal(size=(4, 3))
    _, (real_cache, fake_cache, _) = game.discriminator_forward(params, data, Noise(1))
    _, both = system.discriminator_gradient(params, data, Noise(1))
    fake = game.discriminator.forward(
        params["discriminator"], game.generate(params, 4, Noise(1), data.dtype)[0]
    )[0]
    real = game.discriminator.forward(params["discriminator"], data)[0]
    _, from_real = game.discriminator.backward(-1 / (1 + np.exp(real)) / 4, real_cache)
    _, from_fake = game.discriminator.backward(1 / (1 + np.exp(-fake)) / 4, fake_cache)
    total = tree.map(lambda a, b: a + b, from_real, from_fake)
    for sum_of_two, whole, one in zip(
        tree.leaves(total), tree.leaves(both), tree.leaves(from_real), strict=True
    ):
        np.testing.assert_allclose(sum_of_two, whole, rtol=1e-10, atol=1e-15)
        assert not np.allclose(one, whole)


def test_a_game_loss_is_lowered_by_one_small_step_of_its_own_player():
    system = build("gan", (3,), {"hidden": 8, "latent": 2})
    params, data = system.init(Noise(3)), np.random.default_rng(0).normal(size=(64, 3))
    for turn in system.turns():
        before, grads = turn.gradient(params, data, Noise(4))
        moved = tree.map(lambda p, g: p - 0.01 * g, params[turn.player], grads)
        after, _ = turn.gradient({**params, turn.player: moved}, data, Noise(4))
        assert after["loss"].mean() < before["loss"].mean()
