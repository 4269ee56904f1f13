"""Laws of the image networks: UNet, DiT, and what they are built of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, ops, tree
from refgen.layers.condition import Condition
from refgen.layers.dit import DiTBlock
from refgen.layers.residual import ResBlock
from refgen.models import DiT, TimeMLP, UNet, mlp
from refgen.models.denoiser import DENOISERS, denoiser
from refgen.models.summary import rows, summarize
from refgen.noise import Noise

seeds = st.integers(0, 2**31)


def drawn(model, seed=0):
    """Draw parameters of a model, moved away from the zeros that it starts with."""
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), model.init(Noise(seed)))


def gap(model, seed, x, *rest, **conditions):
    """Return the adjoint gap of a whole network in its input and all parameters."""
    params, rng = drawn(model, seed), np.random.default_rng(seed + 1)
    y, cache = model.forward(params, x, *rest, **conditions)
    dy = rng.normal(size=y.shape)
    dx, *_, grads = model.backward(dy, cache)
    direction = tree.map(lambda a: rng.normal(size=a.shape), params)
    names = list(tree.flatten(params))
    assert list(tree.flatten(grads)) == names

    def output(x, *leaves):
        moved = tree.unflatten(dict(zip(names, leaves, strict=True)))
        return model.forward(moved, x, *rest, **conditions)[0]

    tangents = [rng.normal(size=x.shape), *tree.leaves(direction)]
    along = check.complex_step(output, [x, *tree.leaves(params)], tangents)
    return check.adjoint_gap(tangents, [dx, *tree.leaves(grads)], [dy], [along])


@settings(max_examples=15)
@given(
    seed=seeds,
    side=st.sampled_from([(4, 4), (4, 8), (8, 4)]),
    widths=st.sampled_from([(1,), (1, 2), (2, 1), (1, 2, 1)]),
    blocks=st.integers(1, 2),
    attend=st.booleans(),
    steering=st.sampled_from(["added", "film"]),
    classes=st.sampled_from([0, 3]),
    image=st.sampled_from([0, 2]),
    context=st.sampled_from([0, 3]),
)
def test_the_backward_of_a_unet_is_its_adjoint(
    seed, side, widths, blocks, attend, steering, classes, image, context
):
    model = UNet(
        (*side, 2),
        4,
        widths,
        blocks,
        attention=tuple(range(len(widths))) if attend else (),
        heads=2,
        groups=2,
        steering=steering,
        classes=classes,
        image=image,
        context=context,
    )
    rng = np.random.default_rng(seed)
    given = {}
    if image:
        given["image"] = rng.normal(size=(2, *side, image))
    if context:
        given["tokens"] = rng.normal(size=(2, 3, context))
    labels = rng.integers(classes + 1, size=2) if classes else None
    x, t = rng.normal(size=(2, *side, 2)), rng.integers(1000, size=2)
    assert gap(model, seed, x, t, labels, **given) < 1e-12


@settings(max_examples=15)
@given(
    seed=seeds,
    side=st.sampled_from([(2, 2), (4, 6)]),
    patch=st.integers(1, 2),
    blocks=st.integers(1, 3),
    heads=st.sampled_from([1, 2]),
    classes=st.sampled_from([0, 3]),
)
def test_the_backward_of_a_dit_is_its_adjoint(seed, side, patch, blocks, heads, classes):
    model = DiT((*side, 2), patch, 4, blocks, heads, classes)
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes + 1, size=2) if classes else None
    x, t = rng.normal(size=(2, *side, 2)), rng.integers(1000, size=2)
    assert gap(model, seed, x, t, labels) < 1e-12


@pytest.mark.parametrize("steering", ["added", "film"])
@given(seed=seeds, inputs=st.sampled_from([2, 4]))
def test_a_block_passes_its_gradient_to_the_image_and_to_the_embedding(steering, inputs, seed):
    block = ResBlock(inputs, 4, 3, 2, steering)
    rng = np.random.default_rng(seed)
    params, x, e = drawn(block, seed), rng.normal(size=(2, 3, 2, inputs)), rng.normal(size=(2, 3))
    y, cache = block.forward(params, x, e)
    dy, tx, te = (rng.normal(size=a.shape) for a in (y, x, e))
    dx, de, _ = block.backward(dy, cache)
    along = check.complex_step(lambda x, e: block.forward(params, x, e)[0], [x, e], [tx, te])
    assert check.adjoint_gap([tx, te], [dx, de], [dy], [along]) < 1e-12


def test_a_unet_tells_what_each_of_its_inputs_is_worth():
    """The gradients of a conditioning image and of tokens, for the network that made them."""
    model = UNet((4, 4, 1), 4, (1, 2), heads=2, groups=2, image=2, context=3)
    rng, params = np.random.default_rng(0), drawn(model)
    x, image, tokens = (rng.normal(size=s) for s in ((2, 4, 4, 1), (2, 4, 4, 2), (2, 5, 3)))
    t = np.array([3, 400])
    y, cache = model.forward(params, x, t, image=image, tokens=tokens)
    dy = rng.normal(size=y.shape)
    found, _ = model.backward_inputs(dy, cache)
    tangents = [rng.normal(size=a.shape) for a in (x, image, tokens)]
    along = check.complex_step(
        lambda x, i, k: model.forward(params, x, t, image=i, tokens=k)[0],
        [x, image, tokens],
        tangents,
    )
    assert check.adjoint_gap(tangents, list(found), [dy], [along]) < 1e-12


MODELS = [
    UNet((4, 4, 2), 4, (1, 2), heads=2, groups=2, classes=3),
    DiT((4, 4, 2), 2, 8, 2, 2, classes=3),
]
each_model = pytest.mark.parametrize("model", MODELS, ids=["unet", "dit"])


@each_model
def test_a_fresh_network_predicts_nothing(model):
    """The last map starts at 0; so a fresh predictor is worth exactly the mean of the noise."""
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 2))
    y, _ = model.forward(model.init(Noise(0)), x, np.arange(3))
    assert not y.any()


def test_fresh_blocks_are_the_identity():
    rng = np.random.default_rng(0)
    x, e = rng.normal(size=(2, 4, 4, 4)), rng.normal(size=(2, 6))
    for steering in ("added", "film"):
        block = ResBlock(4, 4, 6, 2, steering)
        assert np.array_equal(block.forward(block.init(Noise(0)), x, e)[0], x)
    block, tokens = DiTBlock(4, 6, 2), x.reshape(2, 16, 4)
    assert np.array_equal(block.forward(block.init(Noise(0)), tokens, e)[0], tokens)


@each_model
def test_no_label_is_the_null_label(model):
    params, x = drawn(model), np.random.default_rng(0).normal(size=(2, 4, 4, 2))
    t = np.array([5, 50])
    none, _ = model.forward(params, x, t)
    null, _ = model.forward(params, x, t, np.array([3, 3]))
    some, _ = model.forward(params, x, t, np.array([3, 1]))
    assert np.array_equal(none, null)
    assert np.array_equal(none[0], some[0])
    assert np.abs(none[1] - some[1]).max() > 1e-3


@each_model
def test_a_network_may_be_applied_again_before_the_first_backward(model):
    params, rng = drawn(model), np.random.default_rng(0)
    (x, other), t = rng.normal(size=(2, 2, 4, 4, 2)), np.array([5, 50])
    y, cache = model.forward(params, x, t)
    alone = model.backward(y, cache)
    y, cache = model.forward(params, x, t)
    model.forward(params, other, t)
    after = model.backward(y, cache)
    assert np.array_equal(alone[0], after[0])
    for a, b in zip(tree.leaves(alone[1]), tree.leaves(after[1]), strict=True):
        assert np.array_equal(a, b)


@each_model
def test_examples_do_not_see_each_other(model):
    params, x = drawn(model), np.random.default_rng(0).normal(size=(3, 4, 4, 2))
    t = np.array([5, 50, 500])
    together, _ = model.forward(params, x, t)
    for i in range(3):
        alone, _ = model.forward(params, x[i : i + 1], t[i : i + 1])
        np.testing.assert_allclose(alone[0], together[i], atol=1e-12)


@each_model
def test_every_parameter_is_used(model):
    params, rng = drawn(model), np.random.default_rng(0)
    x, t = rng.normal(size=(8, 4, 4, 2)), np.arange(8)
    y, cache = model.forward(params, x, t, np.arange(8) % 4)
    _, grads = model.backward(rng.normal(size=y.shape), cache)
    for path, grad in tree.flatten(grads).items():
        assert np.abs(grad).max() > 1e-12, path


@each_model
def test_float32_stays_float32_throughout_a_network(model):
    params = tree.map(lambda a: a.astype(np.float32), drawn(model))
    x = np.ones((2, 4, 4, 2), np.float32)
    y, cache = model.forward(params, x, np.array([1, 2]))
    dx, grads = model.backward(y, cache)
    assert {a.dtype for a in (y, dx, *tree.leaves(grads))} == {np.dtype(np.float32)}


def test_a_transformer_knows_places_by_their_positions_only():
    model, rng = DiT((4, 4, 2), 2, 8, 2, 2), np.random.default_rng(0)
    params, t = drawn(model), np.array([7, 70])
    x, order = rng.normal(size=(2, 4, 4, 2)), np.array([2, 0, 3, 1])

    def shuffled(image):
        tokens, _ = ops.patchify_forward(image, patch=2)
        return ops.unpatchify_forward(tokens[:, order], patch=2, height=4, width=4)[0]

    def moves_with_its_patches(params):
        y, moved = model.forward(params, x, t)[0], model.forward(params, shuffled(x), t)[0]
        return np.abs(moved - shuffled(y)).max()

    assert moves_with_its_patches(params) > 1e-2
    assert moves_with_its_patches({**params, "position": np.zeros((4, 8))}) < 1e-12


def test_a_unet_sees_the_whole_image():
    """Every output pixel depends on every input pixel, since the middle attends."""
    model = UNet((8, 8, 1), 4, (1, 1), attention=(), heads=2, groups=2)
    params, x = drawn(model), np.random.default_rng(0).normal(size=(1, 8, 8, 1))
    _, cache = model.forward(params, x, np.array([9]))
    dy = np.zeros((1, 8, 8, 1))
    dy[0, 0, 0, 0] = 1
    dx, _ = model.backward(dy, cache)
    assert np.abs(dx).min() > 0


def test_distinct_times_and_labels_have_distinct_embeddings():
    layer = Condition(8, 16, classes=3)
    params = layer.init(Noise(0))
    t, labels = np.repeat(np.arange(0.0, 1000, 7), 4), np.tile(np.arange(4), 143)
    e, _ = layer.forward(params, t, labels)
    between = np.abs(e[:, None] - e[None]).max(axis=2)
    np.fill_diagonal(between, np.inf)
    assert between.min() > 1e-4


@pytest.mark.parametrize(
    ("name", "side", "seen"),
    [
        ("unet", 8, {"widths": (1, 2), "attention": (1,)}),
        ("unet", 28, {"widths": (1, 2, 4), "attention": (2,)}),
        ("unet", 7, {"widths": (1,), "attention": ()}),
        ("mlp", 4, {"dim": 16, "hidden": 64}),
        ("mlp", 28, {"dim": 784, "hidden": 784}),
        ("dit", 8, {"patch": 2}),
        ("dit", 28, {"patch": 4}),
        ("dit", 32, {"patch": 8}),
    ],
)
def test_levels_and_patches_follow_from_the_image(name, side, seen):
    model = denoiser(name, (side, side, 1), 64, 1)
    assert {key: getattr(model, key) for key in seen} == seen


@pytest.mark.parametrize("name", DENOISERS)
def test_every_denoiser_takes_images_and_times(name):
    model = denoiser(name, (8, 8, 1), 16, 1)
    x, t = np.ones((2, 8, 8, 1)), np.array([3, 4])
    y, cache = model.forward(model.init(Noise(0)), x, t)
    assert y.shape == x.shape
    assert model.backward(y, cache)[0].shape == x.shape


def test_a_summary_counts_what_is_there():
    model = UNet((8, 8, 1), 8, (1, 2), heads=2, groups=2)
    params, x = model.init(Noise(0)), np.zeros((1, 8, 8, 1))
    found = rows(model, params, x, np.zeros(1, int))
    first = next(row for row in found if row.name == "in")
    assert first == ("in", "conv2d", (1, 8, 8, 8), 80, 2 * 64 * 8 * 9)
    text = model.summary().splitlines()
    assert text[-1].split()[1] == f"{tree.size(params):,}"
    assert sum(row.parameters for row in found) == tree.size(params)
    assert int(text[-1].split()[2].replace(",", "")) == sum(row.flops for row in found)
    assert "down1_0/conv1" in model.summary()
    attention = [row for row in found if row.op == "attention"]
    assert attention
    assert attention[0].flops == 4 * 16 * 16 * 16  # two products of 16 tokens with 16 features


@pytest.mark.parametrize(
    "model", [mlp((3, 5, 2)), TimeMLP(3, 4), DiT((4, 4, 1), 2, 8, 1, 2)], ids=type
)
def test_every_parameter_stands_in_one_row_of_the_summary(model):
    params = model.init(Noise(0))
    x = np.zeros((1, 4, 4, 1)) if isinstance(model, DiT) else np.zeros((1, 3))
    time = () if model == mlp((3, 5, 2)) else (np.zeros(1, int),)
    counted = sum(row.parameters for row in rows(model, params, x, *time))
    rest = tree.size(params.get("position", {})) if isinstance(model, DiT) else 0
    assert counted + rest == tree.size(params)
    assert summarize(model, params, x, *time).splitlines()[0].split()[0] == "layer"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: UNet((6, 8, 1), 8, (1, 1, 1)), "height 6 must be a multiple of 4"),
        (lambda: UNet((8, 8, 1), 6, groups=4), "multiple of 4"),
        (lambda: UNet((8, 8, 1), 8, heads=3, groups=2), "3"),
        (lambda: UNet((8, 8, 1), 8, attention=(2,)), "attention lists levels 0 .. 1"),
        (lambda: UNet((8, 8), 8), "images"),
        (lambda: UNet((8, 8, 1), 8, steering="both"), "added, film"),
        (lambda: DiT((6, 8, 1), 4), "multiples of 4, not height 6"),
        (lambda: DiT((8, 8, 1), 2, 10, 1, 4), "multiple of 4"),
        (lambda: denoiser("cnn", (8, 8, 1), 8, 1), "unknown model 'cnn'.*mlp, unet, dit"),
        (lambda: denoiser("unet", (2,), 8, 1), "use model=mlp"),
        (lambda: denoiser("unet", (28, 28, 1), 48, 1), "hidden as a multiple of 32.*not 48"),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_what_would_do(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({}, "needs image"),
        ({"image": np.zeros((2, 4, 4, 3)), "tokens": np.zeros((2, 5, 3))}, "last of 2"),
        ({"image": np.zeros((2, 8, 8, 2)), "tokens": np.zeros((2, 5, 3))}, "resize it"),
        ({"image": np.zeros((2, 4, 4, 2))}, "needs tokens"),
        ({"image": np.zeros((2, 4, 4, 2)), "tokens": np.zeros((2, 3))}, "3 axes"),
        (
            {
                "labels": np.array([0, 1]),
                "image": np.zeros((2, 4, 4, 2)),
                "tokens": np.zeros((2, 5, 3)),
            },
            "labels were given",
        ),
    ],
)
def test_conditions_that_do_not_fit_are_refused(conditions, said):
    model = UNet((4, 4, 1), 4, (1, 2), heads=2, groups=2, image=2, context=3)
    with pytest.raises(ValueError, match=said):
        model.forward(model.init(Noise(0)), np.zeros((2, 4, 4, 1)), np.zeros(2, int), **conditions)


def test_labels_outside_the_classes_and_wrong_images_are_refused():
    model = DiT((4, 4, 1), 2, 8, 1, 2, classes=3)
    params, x, t = model.init(Noise(0)), np.zeros((2, 4, 4, 1)), np.zeros(2, int)
    with pytest.raises(ValueError, match=r"labels are 0 .. 2, or 3 for the null label, not 0 .. 4"):
        model.forward(params, x, t, np.array([0, 4]))
    for model in (DiT((4, 4, 1), 2, 8, 1, 2), UNet((4, 4, 1), 4, (1, 2), heads=2, groups=2)):
        with pytest.raises(ValueError, match=r"it takes \(N, 4, 4, 1\)"):
            model.forward(model.init(Noise(0)), np.zeros((2, 8, 8, 1)), t)
