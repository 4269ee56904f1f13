"""The classifier: its gradient, the images it is shown, and what it says of new ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, tree
from refgen.data import Dataset
from refgen.models import ConvNet
from refgen.noise import Noise
from refgen.systems import SYSTEMS, Classifier, Labelled, build, generative
from refgen.training import Recipe, require_labels, train

pytestmark = pytest.mark.tiny


def batch(shape, classes, count=4, seed=0):
    rng = np.random.default_rng(seed)
    return Labelled(rng.normal(size=(count, *shape)), rng.integers(0, classes, count))


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from([(5, 4, 2), (8, 8, 1), (16, 8, 3), (3,)]),
    classes=st.integers(2, 4),
)
def test_the_gradient_is_the_adjoint_of_the_loss(seed, shape, classes):
    system = Classifier(shape, classes, channels=2, hidden=3)
    rng = np.random.default_rng(seed)
    params = tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), system.init(Noise(seed)))
    data = batch(shape, classes, seed=seed)
    _, grads = system.gradient(params, data, Noise(seed))
    theta = params["model"]
    direction = tree.map(lambda a: rng.normal(size=a.shape), theta)

    def mean_loss(*moved):
        named = tree.unflatten(dict(zip(tree.flatten(theta), moved, strict=True)))
        return np.mean(system.gradient({"model": named}, data, Noise(seed))[0]["loss"])

    along = check.complex_step(mean_loss, list(tree.leaves(theta)), list(tree.leaves(direction)))
    gap = check.adjoint_gap(
        list(tree.leaves(direction)), list(tree.leaves(grads)), [np.ones(())], [along]
    )
    assert gap < 1e-12


@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from([(5, 4, 2), (8, 8, 1), (3,)]))
def test_the_network_s_backward_reaches_the_image(seed, shape):
    """What a guide needs: the gradient in x."""
    net = ConvNet(shape, 3, channels=2, hidden=3)
    rng = np.random.default_rng(seed)
    params, x = net.init(Noise(seed)), rng.normal(size=(2, *shape))
    direction, dlogits = rng.normal(size=x.shape), rng.normal(size=(2, 3))
    along = check.complex_step(lambda x: net.forward(params, x)[0], [x], [direction])
    _, cache = net.forward(params, x)
    dx, _ = net.backward(dlogits, cache)
    assert check.adjoint_gap([direction], [dx], [dlogits], [along]) < 1e-12


def test_without_an_opinion_every_class_costs_the_log_of_their_number():
    system = Classifier((8, 8, 1), 7)
    params = tree.map(np.zeros_like, system.init(Noise(0)))
    terms, _ = system.gradient(params, batch((8, 8, 1), 7), Noise(0))
    np.testing.assert_allclose(terms["loss"], np.log(7), rtol=1e-12)


def test_logits_are_an_affine_map_of_the_features():
    system = Classifier((8, 8, 1), 5, channels=2)
    params, (x, _) = system.init(Noise(0)), batch((8, 8, 1), 5)
    out = params["model"]["out"]["dense"]
    logits = system.features(params, x) @ out["w"] + out["b"]
    assert system.features(params, x).shape == (4, 64)
    assert np.array_equal(np.argmax(logits, axis=1), system.labels(params, x))


@pytest.mark.parametrize("shift", [1, 2])
def test_an_image_is_moved_as_a_whole_by_every_step_up_to_shift(shift):
    """A lone pixel in the middle lands, over many draws, on each of the (2s + 1)² places."""
    system = Classifier((7, 9, 2), 3, shift=shift)
    x = np.zeros((2000, 7, 9, 2))
    x[:, 3, 4] = [1.0, -2.0]
    moved = system.moved(x, Noise(0))
    assert moved.shape == x.shape
    assert np.array_equal(moved.sum(axis=(1, 2)), np.tile([1.0, -2.0], (2000, 1)))
    places = moved[..., 0].sum(axis=0)
    inside = places[3 - shift : 4 + shift, 4 - shift : 5 + shift]
    assert places.sum() == inside.sum() == 2000
    due = 2000 / (2 * shift + 1) ** 2
    assert np.abs(inside - due).max() < 5 * np.sqrt(due)
    assert np.array_equal(moved, system.moved(x, Noise(0)))


def test_what_comes_in_repeats_the_rim_and_no_shift_moves_nothing():
    x = np.arange(9.0).reshape(1, 3, 3, 1) * np.ones((50, 1, 1, 1))
    moved = Classifier((3, 3, 1), 2).moved(x, Noise(1))
    assert set(np.unique(moved)) <= set(range(9))
    assert moved.std(axis=0).max() > 0
    assert Classifier((3, 3, 1), 2, shift=0).moved(x, Noise(1)) is x
    points = np.ones((4, 3))
    assert Classifier((3,), 2).moved(points, Noise(1)) is points


def test_many_images_are_named_as_they_are_one_by_one(monkeypatch):
    from refgen.systems import classifier

    system = Classifier((8, 8, 1), 5, channels=2)
    params, (x, _) = system.init(Noise(0)), batch((8, 8, 1), 5, count=10)
    whole, features = system.labels(params, x), system.features(params, x)
    monkeypatch.setattr(classifier, "ROWS", 3)
    assert np.array_equal(system.labels(params, x), whole)
    np.testing.assert_allclose(system.features(params, x), features, rtol=1e-12)


def squares(labels=True):
    """Bright upper or lower halves, and noise."""
    rng = np.random.default_rng(0)
    named = np.arange(200) % 2
    data = 0.3 * rng.normal(size=(200, 8, 8, 1))
    data[named == 0, :4] += 0.4
    data[named == 1, 4:] += 0.4
    data = np.clip(data, -1, 1).astype(np.float32)
    return Dataset("squares", data, named if labels else None, "images", 0)


def test_it_learns_from_labels_and_not_from_their_order():
    train_set, held_out = squares().split()
    system = Classifier((8, 8, 1), 2, channels=4, hidden=8)
    state = train(system, train_set, Recipe(60, batch=32, lr=1e-2, warmup=5))
    assert np.mean(system.labels(state.average, held_out.data) == held_out.labels) == 1


def test_data_without_the_labels_that_are_needed_are_refused_at_the_start():
    system = Classifier((8, 8, 1), 2, channels=2)
    with pytest.raises(ValueError, match="squares has none: give data with labels"):
        train(system, squares(labels=False), Recipe(1))
    many = Dataset("many", squares().data, np.arange(200) % 5, "images", 0)
    with pytest.raises(ValueError, match="set classes=5"):
        train(system, many, Recipe(1))
    sparse = Dataset("sparse", squares().data, np.arange(200) * 10**6, "images", 0)
    with pytest.raises(ValueError, match="without gaps"):
        train(system, sparse, Recipe(1))
    require_labels(build("vae", (8, 8, 1), {}), squares(labels=False))


def test_a_system_without_samples_says_so():
    assert [name for name, entry in SYSTEMS.items() if not hasattr(entry.make, "sample")] == [
        "classifier"
    ]
    with pytest.raises(ValueError, match="classifier draws no samples"):
        generative(Classifier((8, 8, 1), 2))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"classes": 1}, "at least 2 classes"),
        ({"channels": 0}, "at least 1"),
        ({"hidden": 0}, "sizes of at least 1"),
        ({"shift": -1}, "a few pixels"),
        ({"shift": 4}, "a few pixels"),
        ({"shape": (8, 8)}, "neither"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        Classifier(**{"shape": (8, 8, 1), **settings})


def test_an_image_of_another_size_is_refused():
    system = Classifier((8, 8, 1), 2, channels=2)
    with pytest.raises(ValueError, match=r"was given examples of \(9, 8, 1\)"):
        system.labels(system.init(Noise(0)), np.zeros((1, 9, 8, 1)))
