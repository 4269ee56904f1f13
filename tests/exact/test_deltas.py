"""The data set as deltas: the denoiser that remembers."""

import numpy as np
import pytest

from refgen.exact import Deltas, deltas
from refgen.noise import Noise


@pytest.fixture
def world():
    return Deltas(np.random.default_rng(0).normal(size=(50, 6)))


def test_with_little_noise_the_denoiser_returns_the_nearest_data_point(world):
    x = world.data[:9] + 1e-4
    np.testing.assert_array_equal(world.data_mean(x, 1.0, 1e-5), world.data[:9])


def test_with_much_noise_the_denoiser_returns_the_mean(world):
    x = np.random.default_rng(1).normal(size=(4, 6))
    far = world.data_mean(1e6 * x, 1.0, 1e6)
    np.testing.assert_allclose(far, np.tile(world.data.mean(axis=0), (4, 1)), atol=1e-4)


def test_no_denoiser_does_better_on_the_data_set(world):
    """Any other prediction, such as a shrunk or shifted one, has a larger loss."""
    noise = np.random.default_rng(2).normal(size=(20_000, 6))
    data = world.sample(20_000, Noise(0).at("data"))
    best = world.data_mean(data + noise, 1.0, 1.0)

    def loss(prediction):
        return np.mean(np.sum((prediction - data) ** 2, axis=1))

    floor = loss(best)
    assert floor < loss(0.95 * best)
    assert floor < loss(best + 0.05)
    assert floor < loss(data + noise)


@pytest.mark.parametrize("chunk", [1, 120, 2**20])
def test_chunks_change_nothing(world, chunk, monkeypatch):
    x = np.random.default_rng(1).normal(size=(31, 6))
    b = np.linspace(0.1, 2.0, 31)
    whole = world.log_density(x, 0.9, b), world.score(x, 0.9, b)
    monkeypatch.setattr(deltas, "CHUNK", chunk)
    np.testing.assert_allclose(world.log_density(x, 0.9, b), whole[0], rtol=1e-14)
    np.testing.assert_allclose(world.score(x, 0.9, b), whole[1], rtol=1e-12)


def test_no_points_give_no_answers(world):
    assert world.score(np.zeros((0, 6)), 1.0, 1.0).shape == (0, 6)
    assert world.log_density(np.zeros((0, 6)), 1.0, 1.0).shape == (0,)


def test_draws_are_data_points_each_equally_often():
    world = Deltas(np.arange(5.0)[:, None])
    counts = np.bincount(world.sample(50_000, Noise(0)).astype(int)[:, 0], minlength=5)
    assert np.sum((counts - 10_000) ** 2 / 10_000) < 18.5  # chi-square, 4 degrees: p = 0.001


def test_deltas_have_no_density_without_noise(world):
    for ask in (world.log_density, world.score):
        with pytest.raises(ValueError, match="use b > 0"):
            ask(world.data)
    with pytest.raises(ValueError, match="use b > 0"):
        world.data_mean(world.data[:2], 1.0, np.array([0.1, 0.0]))


def test_data_that_are_not_a_table_are_refused():
    with pytest.raises(ValueError, match="rows of shape"):
        Deltas(np.zeros((3, 8, 8, 1)))
