"""Laws of networks that are told something: labels, sentences, levels of noise; and of codes."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, tree
from refgen.models import DiT, UNet
from refgen.models.autoencoder import Autoencoder, Unit
from refgen.models.captioned import Captioned, TextEncoder
from refgen.models.mlp import TimeMLP
from refgen.models.noisy_classifier import NoisyClassifier
from refgen.models.told import LabelledMLP, Told, audible, told_denoiser
from refgen.noise import Noise

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)


def drawn(model, seed=0):
    """Draw parameters of a model, moved away from the zeros that it starts with."""
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), model.init(Noise(seed)))


def gap(forward, backward, params, x, seed):
    """Return the adjoint gap of a network in its input and all its parameters."""
    rng = np.random.default_rng(seed + 1)
    y, cache = forward(params, x)
    dy = rng.normal(size=y.shape)
    dx, grads = backward(dy, cache)
    names = list(tree.flatten(params))
    assert list(tree.flatten(grads)) == names

    def output(x, *leaves):
        return forward(tree.unflatten(dict(zip(names, leaves, strict=True))), x)[0]

    tangents = [rng.normal(size=x.shape), *(rng.normal(size=a.shape) for a in tree.leaves(params))]
    along = check.complex_step(output, [x, *tree.leaves(params)], tangents)
    return check.adjoint_gap(tangents, [dx, *tree.leaves(grads)], [dy], [along])


def captioned(frozen=False):
    unet = UNet((4, 4, 1), 4, (1, 2), heads=2, groups=2, context=8)
    return Captioned(unet, TextEncoder(7, 4, 8), frozen)


@settings(max_examples=20)
@given(
    seed=seeds,
    shape=st.sampled_from([(2,), (3, 2), (2, 2, 1)]),
    classes=st.integers(1, 4),
    blocks=st.integers(1, 2),
)
def test_the_backward_of_a_labelled_mlp_is_its_adjoint(seed, shape, classes, blocks):
    model = LabelledMLP(math.prod(shape), classes, 5, blocks)
    rng = np.random.default_rng(seed)
    x, t = rng.normal(size=(3, *shape)), rng.integers(1, 1000, size=3)
    labels = rng.integers(classes + 1, size=3)
    told = Told(model, {"labels": labels})
    params = drawn(model, seed)
    assert gap(lambda p, x: told.forward(p, x, t), told.backward, params, x, seed) < 1e-12


@settings(max_examples=10)
@given(seed=seeds)
def test_the_backward_of_a_captioned_network_is_its_adjoint(seed):
    """The words' table, their places and the block are reached through every attention."""
    model, rng = captioned(), np.random.default_rng(seed)
    x, t = rng.normal(size=(2, 4, 4, 1)), rng.integers(1, 1000, size=2)
    told = Told(model, {"words": rng.integers(7, size=(2, 4))})
    params = drawn(model, seed)
    assert gap(lambda p, x: told.forward(p, x, t), told.backward, params, x, seed) < 1e-12


@settings(max_examples=20)
@given(
    seed=seeds,
    shape=st.sampled_from([(2,), (5, 4, 2), (8, 8, 1)]),
    classes=st.integers(2, 4),
)
def test_the_backward_of_a_noisy_classifier_reaches_x_and_all_parameters(seed, shape, classes):
    model, rng = NoisyClassifier(shape, classes, 4), np.random.default_rng(seed)
    x, levels = rng.normal(size=(2, *shape)), rng.uniform(size=(2, 2))
    params = drawn(model, seed)
    assert gap(lambda p, x: model.forward(p, x, levels), model.backward, params, x, seed) < 1e-12


@settings(max_examples=15)
@given(
    seed=seeds,
    side=st.sampled_from([(4, 4), (4, 8)]),
    factor=st.sampled_from([2, 4]),
    latent=st.integers(3, 4),
)
def test_both_halves_of_an_autoencoder_have_the_adjoints_of_their_maps(seed, side, factor, latent):
    model, rng = Autoencoder((*side, 2), factor, latent, 3), np.random.default_rng(seed)
    params = drawn(model, seed)
    for half, shape in (("encoder", model.shape), ("decoder", model.code)):
        x, part = rng.normal(size=(2, *shape)), getattr(model, half)
        assert gap(part.forward, part.backward, params[half], x, seed) < 1e-12


@given(seed=seeds, shape=st.sampled_from([(4,), (3, 2), (2, 3, 2)]))
def test_a_unit_layer_gives_every_example_mean_0_and_variance_1(seed, shape):
    """Whatever comes in, and whoever stands beside it: a batch norm would mix examples."""
    x = np.random.default_rng(seed).normal(3, 10, size=(3, *shape))
    y, _ = Unit().forward({}, x)
    flat = y.reshape(3, -1)
    np.testing.assert_allclose(flat.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(flat.var(axis=1), 1, rtol=1e-4)
    alone, _ = Unit().forward({}, x[:1])
    np.testing.assert_allclose(alone[0], y[0], atol=1e-12)
    moved, _ = Unit().forward({}, 2 * x + 5)
    np.testing.assert_allclose(moved, y, atol=1e-5)


def test_codes_lie_on_a_sphere_and_decoding_goes_there_first():
    model = Autoencoder((8, 8, 1), 4, 3, 4)
    params, x = drawn(model), np.random.default_rng(0).normal(size=(5, 8, 8, 1))
    z = model.encode(params, x)
    assert z.shape == (5, 2, 2, 3)
    np.testing.assert_allclose(np.sum(z * z, axis=(1, 2, 3)), 12, rtol=1e-4)
    y = model.decode(params, z)
    assert y.shape == x.shape
    np.testing.assert_allclose(model.decode(params, 3 * z + 1), y, atol=1e-3)


def networks(classes=3):
    """Return each kind of network that takes labels, on 4 x 4 images.

    With one channel to a group a UNet's norm takes away what label and time have added: 16 of 8.
    """
    return [
        told_denoiser(name, (4, 4, 1), 16, 1, classes=classes) for name in ("mlp", "unet", "dit")
    ]


@pytest.mark.parametrize("model", networks(), ids=lambda m: type(m).__name__)
def test_every_network_has_a_null_label_and_tells_labels_apart(model):
    params, x = drawn(model), np.random.default_rng(0).normal(size=(4, 4, 4, 1))
    t = np.array([5, 50, 5, 5])
    same = np.stack([x[0]] * 4)
    none, _ = model.forward(params, x, t)
    null, _ = model.forward(params, x, t, labels=np.full(4, 3))
    assert np.array_equal(none, null)
    each, _ = model.forward(params, same, np.full(4, 5), labels=np.arange(4))
    for i in range(4):
        for j in range(i):
            assert np.abs(each[i] - each[j]).max() > 1e-4
    y, cache = Told(model, {"labels": np.arange(4)}).forward(params, same, np.full(4, 5))
    assert np.array_equal(y, each)
    fresh, _ = model.forward(model.init(Noise(0)), x, t, labels=np.arange(4))
    assert not fresh.any()
    dx, grads = model.backward(y, cache)
    assert dx.shape == x.shape
    for path, grad in tree.flatten(grads).items():
        assert np.abs(grad).max() > 1e-12, path


@pytest.mark.parametrize("model", networks(), ids=lambda m: type(m).__name__)
def test_a_label_moves_its_own_example_only(model):
    params, x = drawn(model), np.random.default_rng(0).normal(size=(2, 4, 4, 1))
    t = np.array([5, 50])
    one, _ = model.forward(params, x, t, labels=np.array([0, 1]))
    other, _ = model.forward(params, x, t, labels=np.array([0, 2]))
    np.testing.assert_allclose(one[0], other[0], atol=1e-14)
    assert np.abs(one[1] - other[1]).max() > 1e-4


@pytest.mark.parametrize("name", ["mlp", "unet", "dit"])
def test_a_fresh_label_is_as_loud_as_the_time(name):
    """Its rows are of size 1; 0.02 of them took thousands of steps to be heard."""
    model = told_denoiser(name, (4, 4, 1), 16, 1, classes=10)
    plain = model.init(Noise(0))
    params = audible(plain, Noise(0))
    tables = {k: a for k, a in tree.flatten(params).items() if k.endswith("label/table")}
    assert len(tables) == 1
    for path, table in tables.items():
        assert 0.8 < table.std() < 1.2, path
    assert {k for k, a in tree.flatten(plain).items() if a is not tree.flatten(params)[k]} == (
        set() if name == "mlp" else tables.keys()
    )
    without = told_denoiser(name, (4, 4, 1), 16, 1).init(Noise(0))
    assert audible(without, Noise(0)) == without


def test_a_network_is_told_what_it_is_built_for():
    plain = told_denoiser("mlp", (4, 4, 1), 8, 1)
    assert isinstance(plain, TimeMLP)
    unet = told_denoiser("unet", (4, 4, 1), 8, 1, image=2, context=4)
    assert isinstance(unet, UNet)
    assert (unet.image, unet.context, unet.classes) == (2, 4, 0)
    dit = told_denoiser("dit", (4, 4, 1), 8, 1, classes=3)
    assert isinstance(dit, DiT)
    assert dit.classes == 3


def test_the_order_of_words_is_told_by_their_places_alone():
    """Without P a sentence is a bag of words: its tokens are shuffled with it."""
    model = TextEncoder(7, 4, 8)
    params, words, order = drawn(model), np.array([[1, 4, 2, 6]]), [2, 0, 3, 1]

    def moves_with_its_words(params):
        tokens, _ = model.forward(params, words)
        moved, _ = model.forward(params, words[:, order])
        return np.abs(moved - tokens[:, order]).max()

    assert moves_with_its_words(params) > 1e-2
    blind = {**params, "place": {"axis0": np.zeros((4, 8))}}
    assert moves_with_its_words(blind) < 1e-12


def test_a_word_is_heard_by_the_tokens_of_the_others():
    """What is said of two threes has to reach the token of the threes."""
    model = TextEncoder(7, 4, 8)
    params = drawn(model)
    one, _ = model.forward(params, np.array([[1, 4, 2, 6]]))
    two, _ = model.forward(params, np.array([[3, 4, 2, 6]]))
    assert np.abs(one - two)[0, 2].max() > 1e-3


def test_a_frozen_encoder_gets_no_gradient_and_its_network_the_same():
    rng = np.random.default_rng(0)
    x, t, words = rng.normal(size=(2, 4, 4, 1)), np.array([3, 400]), rng.integers(7, size=(2, 4))
    params = drawn(captioned())
    grads = {}
    for frozen in (False, True):
        model = captioned(frozen)
        y, cache = model.forward(params, x, t, words)
        grads[frozen] = model.backward(y, cache)[1]
    assert not any(g.any() for g in tree.leaves(grads[True]["encoder"]))
    assert all(g.any() for g in tree.leaves(grads[False]["encoder"]))
    for a, b in zip(*(tree.leaves(grads[f]["network"]) for f in (False, True)), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("shape", [(2,), (8, 8, 1)])
def test_a_noisy_classifier_hears_the_levels_of_each_example(shape):
    model, rng = NoisyClassifier(shape, 3, 8), np.random.default_rng(0)
    params, x = drawn(model), np.stack([rng.normal(size=shape)] * 3)
    levels = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.9]])
    logits, _ = model.forward(params, x, levels)
    for i in range(3):
        alone, _ = model.forward(params, x[i : i + 1], levels[i : i + 1])
        np.testing.assert_allclose(alone[0], logits[i], atol=1e-12)
        for j in range(i):
            assert np.abs(logits[i] - logits[j]).max() > 1e-4


def test_float32_stays_float32():
    x, t = np.ones((2, 4, 4, 1), np.float32), np.array([1, 2])
    for model, words in (
        (networks()[0], {"labels": np.array([0, 3])}),
        (captioned(), {"words": np.zeros((2, 4), int)}),
    ):
        params = tree.map(lambda a: a.astype(np.float32), drawn(model))
        y, cache = model.forward(params, x, t, **words)
        dx, grads = model.backward(y, cache)
        assert {a.dtype for a in (y, dx, *tree.leaves(grads))} == {np.dtype(np.float32)}
    model = Autoencoder((4, 4, 1), 2, 2, 4)
    params = tree.map(lambda a: a.astype(np.float32), drawn(model))
    assert model.decode(params, model.encode(params, x)).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: LabelledMLP(2, 0), "one class at least"),
        (lambda: told_denoiser("dit", (4, 4, 1), 8, 1, image=1), "needs model=unet"),
        (lambda: told_denoiser("mlp", (4, 4, 1), 8, 1, context=4), "a mlp is told labels only"),
        (lambda: told_denoiser("cnn", (4, 4, 1), 8, 1), "unknown model"),
        (lambda: Captioned(UNet((4, 4, 1), 8), TextEncoder(3, 2, 8)), "not 0 and 8"),
        (lambda: TextEncoder(3, 2, 6), "6 features cannot be cut into 4 heads"),
        (lambda: NoisyClassifier((8, 8, 1), 1), "at least 2 classes"),
        (lambda: NoisyClassifier((8, 8), 3), "neither"),
        (lambda: Autoencoder((8, 8)), "takes images"),
        (lambda: Autoencoder((8, 8, 1), 3), "a power of 2, not 3"),
        (lambda: Autoencoder((6, 8, 1), 4), "factor 4 does not divide height 6"),
        (lambda: Autoencoder((2, 2, 1), 2, 1), "says nothing once mean and variance"),
        (
            lambda: NoisyClassifier((3,), 2).forward({}, np.zeros((2, 3)), np.zeros((1, 2))),
            r"levels \(N, 2\), not \(2, 3\) and \(1, 2\)",
        ),
        (
            lambda: (m := LabelledMLP(2, 3, 4, 1)).forward(
                m.init(Noise(0)), np.zeros((1, 2)), np.ones(1), np.array([4])
            ),
            "labels are 0 .. 2, or 3 for the null label, not 4",
        ),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
