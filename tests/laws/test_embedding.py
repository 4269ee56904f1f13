"""Laws of embeddings: times and labels keep apart, rows get what those who asked for them felt."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, ops
from refgen.layers import Embedding, Positions
from refgen.noise import Noise
from refgen.ops.embedding import ORDERS, SPACINGS

pytestmark = pytest.mark.tiny
CONVENTIONS = list(itertools.product(ORDERS, SPACINGS))


def closest(y):
    """Return the least distance between two rows, as a share of their common norm √(D/2)."""
    square = np.sum(y * y, axis=1)
    apart = square[:, None] + square - 2 * y @ y.T
    np.fill_diagonal(apart, np.inf)
    return float(np.sqrt(np.maximum(apart.min(), 0) / (y.shape[1] / 2)))


@pytest.mark.parametrize(("order", "spacing"), CONVENTIONS)
def test_distinct_times_have_distinct_embeddings(order, spacing, record_property):
    """The worst pair of 0 .. 1000 is still a good part of a hand's length apart."""
    for dim in (8, 32, 128):
        times = np.arange(1001.0)
        y, _ = ops.sinusoidal_embedding_forward(times, dim=dim, order=order, spacing=spacing)
        worst = closest(y)
        record_property(f"closest pair, dim {dim}", worst)
        assert worst > 0.1, f"two of 1001 times are {worst:.3g} of a norm apart at dim {dim}"


def test_times_in_the_unit_interval_collide_unless_they_are_scaled():
    """The fastest hand turns once in 2π: on [0, 1] a thousand times are one cluster."""
    t = np.linspace(0, 1, 1001)
    near = closest(ops.sinusoidal_embedding_forward(t, dim=32)[0])
    far = closest(ops.sinusoidal_embedding_forward(t, dim=32, scale=1000.0)[0])
    assert near < 1e-3
    assert far > 0.1


def test_every_convention_is_another_embedding():
    """A port that swaps two of them agrees in shape, range and norm, and in nothing else."""
    t = np.linspace(0, 999, 200)
    made = {
        (order, spacing): ops.sinusoidal_embedding_forward(t, dim=16, order=order, spacing=spacing)[
            0
        ]
        for order, spacing in CONVENTIONS
    }
    for (a, y), (b, z) in itertools.combinations(made.items(), 2):
        np.testing.assert_allclose(np.sum(y * y, axis=1), np.sum(z * z, axis=1))
        assert np.sqrt(np.mean((y - z) ** 2)) > 0.1, (a, b)


def test_the_orders_are_the_same_hands_in_other_places():
    t = np.linspace(0, 999, 50)
    sin_cos, cos_sin, interleaved = (
        ops.sinusoidal_embedding_forward(t, dim=8, order=order)[0] for order in ORDERS
    )
    assert np.array_equal(cos_sin, np.roll(sin_cos, 4, axis=1))
    assert np.array_equal(interleaved[:, 0::2], sin_cos[:, :4])
    assert np.array_equal(interleaved[:, 1::2], sin_cos[:, 4:])


@pytest.mark.parametrize(("spacing", "slowest"), [("half", 1e4**-0.75), ("half_minus_one", 1e-4)])
def test_the_spacing_decides_the_slowest_hand(spacing, slowest):
    """At small t a sine is its angle, so the hands' speeds can be read off."""
    y, _ = ops.sinusoidal_embedding_forward(np.array([1e-6]), dim=8, spacing=spacing)
    assert y[0, 0] / 1e-6 == pytest.approx(1)
    assert y[0, 3] / 1e-6 == pytest.approx(slowest)


def test_the_scale_multiplies_the_time():
    t = np.linspace(0, 1, 50)
    scaled, _ = ops.sinusoidal_embedding_forward(t, dim=8, scale=1000.0)
    np.testing.assert_allclose(
        scaled, ops.sinusoidal_embedding_forward(1000.0 * t, dim=8)[0], atol=1e-12
    )


def test_a_clock_with_one_batch_axis_reads_each_time_by_itself():
    """Each row depends on its own time: an embedding taken along the batch would not."""
    t = np.array([3.0, 700.0, 41.0])
    together, _ = ops.sinusoidal_embedding_forward(t, dim=8)
    for i in range(3):
        assert np.array_equal(
            together[i], ops.sinusoidal_embedding_forward(t[i : i + 1], dim=8)[0][0]
        )


@pytest.mark.parametrize(
    "static",
    [
        {"dim": 3},
        {"dim": 0},
        {"dim": 2, "spacing": "half_minus_one"},
        {"dim": 4, "order": "sincos"},
        {"dim": 4, "spacing": "log"},
    ],
)
def test_conventions_that_do_not_exist_are_refused(static):
    with pytest.raises(ValueError, match=r"even and at least [24]|order is one of"):
        ops.sinusoidal_embedding_forward(np.zeros(1), **static)


def test_a_row_gets_the_sum_over_all_places_that_asked_for_it():
    """A row used twice, and one not used: the slip that a fancy-indexed += makes."""
    layer = Embedding(3, 2)
    params = layer.init(Noise(0))
    _, cache = layer.forward(params, np.array([[1, 0], [1, 1]]))
    drows = np.arange(8.0).reshape(2, 2, 2)
    grad = layer.backward(drows, cache)["table"]
    assert grad.tolist() == [[2, 3], [0 + 4 + 6, 1 + 5 + 7], [0, 0]]


def test_a_fresh_table_tells_its_rows_apart():
    table = Embedding(10, 4, null=True).init(Noise(0))["table"]
    assert table.shape == (11, 4)
    assert np.abs(table[:, None] - table)[~np.eye(11, dtype=bool)].max(axis=-1).min() > 1e-3


def test_labels_that_a_table_has_not_are_refused():
    layer = Embedding(3, 2, null=True)
    assert layer.labels(None, 2).tolist() == [3, 3]
    assert layer.labels(np.array([3, 0]), 2).tolist() == [3, 0]
    with pytest.raises(ValueError, match=r"labels are 0 .. 2, or 3 for the null label, not 0 .. 4"):
        layer.labels(np.array([0, 4]), 2)
    with pytest.raises(ValueError, match=r"shape \(2,\), not \(1,\)"):
        layer.labels(np.array([0]), 2)
    with pytest.raises(ValueError, match="no null row"):
        Embedding(3, 2).labels(None, 2)
    with pytest.raises(ValueError, match="build it with classes"):
        Embedding(0, 2, null=True).labels(np.array([0]), 1)
    with pytest.raises(ValueError, match=r"rows 0 .. 3"):
        layer.forward(layer.init(Noise(0)), np.array([4]))
    with pytest.raises(ValueError, match="a row and a feature"):
        Embedding(0, 2)


@given(shape=st.sampled_from([(3,), (2, 4), (2, 3, 2)]), seed=st.integers(0, 2**31))
def test_the_backward_of_positions_is_its_adjoint(shape, seed):
    layer, rng = Positions(shape, 3), np.random.default_rng(seed)
    params, x = layer.init(Noise(seed)), rng.normal(size=(2, *shape, 3))
    y, cache = layer.forward(params, x)
    dy = rng.normal(size=y.shape)
    dx, grads = layer.backward(dy, cache)
    assert [g.shape for g in grads.values()] == [p.shape for p in params.values()]
    tangents = [rng.normal(size=a.shape) for a in (x, *params.values())]

    def output(x, *tables):
        return layer.forward(dict(zip(params, tables, strict=True)), x)[0]

    along = check.complex_step(output, [x, *params.values()], tangents)
    assert check.adjoint_gap(tangents, [dx, *grads.values()], [dy], [along]) < 1e-12


def test_no_two_places_have_one_position():
    layer = Positions((5, 7), 4)
    y, _ = layer.forward(layer.init(Noise(0)), np.zeros((1, 5, 7, 4)))
    places = y.reshape(35, 4)
    assert np.abs(places[:, None] - places)[~np.eye(35, dtype=bool)].max(axis=-1).min() > 1e-4


def test_a_row_and_a_column_tell_a_place():
    """Along a line of the image only the second table changes, the same way in every line."""
    layer = Positions((3, 4), 2)
    params = layer.init(Noise(0))
    y, _ = layer.forward(params, np.zeros((1, 3, 4, 2)))
    np.testing.assert_allclose(
        y[0, 1] - y[0, 0], np.tile(params["axis0"][1] - params["axis0"][0], (4, 1)), atol=1e-15
    )
    np.testing.assert_allclose(y[0, 2, 1] - y[0, 2, 3], params["axis1"][1] - params["axis1"][3])
    with pytest.raises(ValueError, match=r"\(N, 3, 4, 2\)"):
        layer.forward(params, np.zeros((1, 4, 3, 2)))


@pytest.mark.parametrize("index", [-1, 4])
def test_a_row_before_the_first_or_after_the_last_is_no_row(index):
    """NumPy would count −1 from the end: a label that is off by one would pass for another."""
    with pytest.raises(ValueError, match=r"rows 0 .. 3"):
        ops.embedding_lookup_forward(np.array([0, index]), np.ones((4, 2)))
