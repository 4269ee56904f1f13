"""Laws of autoregressive models: nothing is predicted from itself or from what comes later."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, tree
from refgen.models import CausalTransformer, Made, MaskedMLP, PixelCNN
from refgen.models.autoregressive import (
    sample_in_turn,
    sequence_nll_backward,
    sequence_nll_forward,
)
from refgen.models.masks import masked
from refgen.noise import Noise

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)


def drawn(model, seed=0):
    """Draw parameters of a model, moved away from the zeros that it starts with."""
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), model.init(Noise(seed)))


def examples(model, count, seed=0):
    return np.random.default_rng(seed).integers(model.levels, size=(count, *model.shape))


MODELS = {
    "made": Made(5, 3, hidden=12, classes=2),
    "made of one layer": Made(4, 2, hidden=9, depth=1),
    "made in another order": Made(6, 2, hidden=20, depth=3, order=(3, 0, 5, 1, 4, 2)),
    "transformer": CausalTransformer(5, 3, 8, 2, 2, classes=2),
    "transformer of one token": CausalTransformer(1, 4, 4, 1, 1),
    "convolution": PixelCNN((3, 4, 1), 3, 4, 3, 3, classes=2),
    "convolution in colours": PixelCNN((2, 3, 3), 2, 6, 2, 3),
    "convolution that sees far at once": PixelCNN((3, 3, 2), 2, 4, 1, 5),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def moved(model, params, x, labels=None):
    """Return |change of output j| when input k changes, (k, j), both in the model's sequence.

    Row k of the batch has its k-th variable changed; the other batch is all x, so that both are
    computed by the same sums.
    """
    order = list(model.sequence)
    same = np.repeat(x[None], len(order), axis=0)
    changed = np.reshape(same.copy(), (len(order), -1))
    for k, variable in enumerate(order):
        changed[k, variable] = (changed[k, variable] + 1) % model.levels
    labels = None if labels is None else np.full(len(order), labels)
    before, after = (
        model.forward(params, np.reshape(a, same.shape), labels)[0] for a in (same, changed)
    )
    change = np.abs(np.reshape(after - before, (len(order), len(order), -1)))
    return change.max(axis=2)[:, order]


@each_model
@settings(max_examples=10)
@given(seed=seeds)
def test_no_variable_is_predicted_from_itself_or_from_a_later_one(model, seed):
    """Exactly: for every pair k >= j, input k moves output j by 0."""
    change = moved(model, drawn(model, seed), examples(model, 1, seed)[0])
    k, j = np.indices(change.shape)
    assert change[k >= j].max(initial=0) == 0


@each_model
def test_every_variable_is_predicted_from_all_earlier_ones(model):
    """For every pair k < j: no blind spot, which masks on one stack of filters would leave."""
    params = drawn(model)
    change = sum(moved(model, params, x) for x in examples(model, 4))
    k, j = np.indices(change.shape)
    assert change[k < j].min(initial=np.inf) > 1e-9


ENUMERABLE = {
    name: MODELS[name]
    for name in ("made", "made of one layer", "made in another order", "transformer")
} | {
    "convolution": PixelCNN((2, 3, 1), 3, 4, 2, 3, classes=2),
    "convolution in colours": PixelCNN((2, 2, 2), 2, 4, 2, 3),
}


@pytest.mark.parametrize("model", ENUMERABLE.values(), ids=ENUMERABLE)
def test_the_probabilities_of_all_x_sum_to_one(model):
    """Over every x there is, for every label; logits that saw what they predict would not."""
    count = int(np.prod(model.shape))
    every = np.array(list(itertools.product(range(model.levels), repeat=count)))
    x, params = every.reshape(-1, *model.shape), drawn(model)
    for label in range(model.classes + 1):
        logits, _ = model.forward(params, x, np.full(len(x), label) if model.classes else None)
        nll, _ = sequence_nll_forward(logits, x)
        assert np.exp(-nll).sum() == pytest.approx(1, rel=1e-12)
        assert np.std(nll) > 0.01  # and it is not the uniform distribution


@each_model
def test_a_fresh_model_finds_all_x_equally_likely(model):
    x, count = examples(model, 3), int(np.prod(model.shape))
    nll, _ = sequence_nll_forward(model.forward(model.init(Noise(0)), x)[0], x)
    np.testing.assert_allclose(nll, count * np.log(model.levels), rtol=1e-14)


@each_model
def test_a_label_decides_the_first_variable_and_all_that_follow(model):
    if not model.classes:
        with pytest.raises(ValueError, match="build it with classes"):
            model.forward(drawn(model), examples(model, 1), np.array([0]))
        return
    params, x = drawn(model), np.repeat(examples(model, 1), 3, axis=0)
    logits, _ = model.forward(params, x, np.array([0, 1, 2]))
    rows = logits.reshape(3, -1, model.levels)[:, list(model.sequence)]
    for a, b in itertools.combinations(rows, 2):
        assert np.abs(a - b).max(axis=1).min() > 1e-6
    null, _ = model.forward(params, x)
    assert np.array_equal(null[2], logits[2])
    with pytest.raises(ValueError, match="2 for the null label"):
        model.forward(params, x, np.array([0, 1, 3]))
    with pytest.raises(ValueError, match=r"shape \(3,\), not \(2,\)"):
        model.forward(params, x, np.array([0, 1]))


def gap(model, seed, x, labels, continuous=True):
    """Return the adjoint gap in all parameters, and in x where it may be any number."""
    params, rng = drawn(model, seed), np.random.default_rng(seed + 1)
    y, cache = model.forward(params, x, labels)
    dy = rng.normal(size=y.shape)
    dx, grads = model.backward(dy, cache)
    assert (dx is not None) == continuous
    names = list(tree.flatten(params))
    assert list(tree.flatten(grads)) == names
    assert list(map(np.shape, tree.leaves(grads))) == list(map(np.shape, tree.leaves(params)))

    def output(*moved):
        leaves, image = moved[: len(names)], moved[len(names) :]
        changed = tree.unflatten(dict(zip(names, leaves, strict=True)))
        return model.forward(changed, image[0] if image else x, labels)[0]

    xs = [*tree.leaves(params), *([x] if continuous else [])]
    tangents = [rng.normal(size=a.shape) for a in xs]
    back = [*tree.leaves(grads), *([dx] if continuous else [])]
    return check.adjoint_gap(tangents, back, [dy], [check.complex_step(output, xs, tangents)])


@settings(max_examples=25)
@given(
    seed=seeds,
    dim=st.integers(1, 5),
    outputs=st.integers(1, 3),
    hidden=st.integers(1, 7),
    depth=st.integers(1, 3),
    classes=st.sampled_from([0, 2]),
    data=st.data(),
)
def test_the_backward_of_a_masked_mlp_is_its_adjoint(
    seed, dim, outputs, hidden, depth, classes, data
):
    order = tuple(data.draw(st.permutations(range(dim))))
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes + 1, size=3) if classes else None
    x = rng.normal(size=(3, dim))
    model = MaskedMLP(dim, outputs, hidden, depth, order, classes)
    assert gap(model, seed, x, labels) < 1e-12
    assert gap(Made(dim, outputs + 1, hidden, depth, order, classes), seed, x, labels) < 1e-12


@settings(max_examples=15)
@given(
    seed=seeds,
    length=st.integers(1, 5),
    levels=st.integers(2, 4),
    blocks=st.integers(1, 3),
    heads=st.sampled_from([1, 2]),
    classes=st.sampled_from([0, 2]),
)
def test_the_backward_of_a_causal_transformer_is_its_adjoint(
    seed, length, levels, blocks, heads, classes
):
    model = CausalTransformer(length, levels, 4, blocks, heads, classes)
    labels = np.random.default_rng(seed).integers(classes + 1, size=3) if classes else None
    assert gap(model, seed, examples(model, 3, seed), labels, continuous=False) < 1e-12


@settings(max_examples=15)
@given(
    seed=seeds,
    shape=st.sampled_from([(1, 1, 1), (3, 2, 1), (2, 3, 2), (2, 2, 3)]),
    levels=st.integers(2, 3),
    blocks=st.integers(1, 3),
    kernel=st.sampled_from([3, 5]),
    classes=st.sampled_from([0, 2]),
)
def test_the_backward_of_a_causal_convolution_is_its_adjoint(
    seed, shape, levels, blocks, kernel, classes
):
    model = PixelCNN(shape, levels, 2 * shape[2], blocks, kernel, classes)
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes + 1, size=2) if classes else None
    assert gap(model, seed, rng.normal(size=(2, *shape)), labels) < 1e-12


@given(seed=seeds)
def test_the_backward_of_the_likelihood_is_its_adjoint(seed):
    rng = np.random.default_rng(seed)
    logits, t = rng.normal(size=(2, 3, 2, 2, 4))
    x, dnll = rng.integers(4, size=(3, 2, 2)), rng.normal(size=3)
    _, cache = sequence_nll_forward(logits, x)
    dlogits = sequence_nll_backward(dnll, cache)
    along = check.complex_step(lambda a: sequence_nll_forward(a, x)[0], [logits], [t])
    assert check.adjoint_gap([t], [dlogits], [dnll], [along]) < 1e-12


@each_model
def test_masked_weights_get_no_gradient_and_all_others_are_used(model):
    params, x = drawn(model), examples(model, 12)
    y, cache = model.forward(params, x, np.arange(12) % 3 if model.classes else None)
    _, grads = model.backward(np.random.default_rng(1).normal(size=y.shape), cache)
    flat = tree.flatten(grads)
    masks = getattr(getattr(model, "network", model), "masks", {})
    for path, mask in masks.items():
        spread = np.broadcast_to(mask, flat[path].shape)
        assert not flat[path][~spread].any()
        flat[path] = flat[path][spread]
    for path, grad in flat.items():
        if (path, model.shape) != ("token/table", (1,)):  # one token has none before it
            assert np.abs(grad).max() > 1e-12, path


def test_weights_behind_a_mask_do_nothing():
    """Whatever is written there, and it is never written out again by an update."""
    model = PixelCNN((2, 3, 2), 2, 4, 1, 3)
    params, x = drawn(model), examples(model, 2)
    shut = {
        path: ~np.broadcast_to(mask, tree.flatten(params)[path].shape)
        for path, mask in model.masks.items()
    }
    noisy = tree.unflatten(
        {p: a + 1e3 * shut[p] if p in shut else a for p, a in tree.flatten(params).items()}
    )
    assert np.array_equal(model.forward(params, x)[0], model.forward(noisy, x)[0])
    assert sum(int(mask.sum()) for mask in shut.values()) > 0
    assert not tree.flatten(masked(noisy, model.masks))["h/w"][shut["h/w"]].any()


def test_mask_b_lets_a_pixel_work_on_what_it_knows_and_mask_a_does_not_let_it_see_itself():
    """At the middle of a filter, two colours and two features for each."""
    masks = PixelCNN((2, 2, 2), 2, 4, 1, 3).masks
    assert masks["h/w"][1, 1].astype(int).tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    b = [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert masks["h0/conv/w"][1, 1].astype(int).tolist() == b
    assert masks["out/conv/w"][0, 0].astype(int).tolist() == b
    for name in ("h/w", "h0/conv/w"):
        assert masks[name][1, 0].all()
        assert not masks[name][[0, 2]].any()
        assert not masks[name][1, 2].any()


def test_the_rows_above_reach_a_pixel_through_the_second_stack_alone():
    """With the links shut, h looks along its own row, and sees all of it that came before."""
    model = PixelCNN((3, 4, 1), 2, 4, 3, 3)
    params, x = drawn(model), examples(model, 1)[0]
    alone = {
        name: tree.map(np.zeros_like, p) if "link" in name else p for name, p in params.items()
    }
    change = moved(model, alone, x)
    k, j = np.indices(change.shape)
    same_row = k // 4 == j // 4
    assert change[(k < j) & same_row].min() > 1e-9
    assert change[~same_row].max() == 0


@pytest.mark.parametrize("name", ["made", "transformer", "convolution in colours"])
def test_a_model_may_be_applied_again_before_the_first_backward(name):
    model = MODELS[name]
    params, x, other = drawn(model), examples(model, 2, 0), examples(model, 2, 1)
    y, cache = model.forward(params, x)
    _, alone = model.backward(y, cache)
    y, cache = model.forward(params, x)
    model.forward(params, other)
    _, after = model.backward(y, cache)
    assert all(map(np.array_equal, tree.leaves(alone), tree.leaves(after)))


@each_model
def test_float32_stays_float32_throughout_a_causal_model(model):
    params = tree.map(lambda a: a.astype(np.float32), drawn(model))
    y, cache = model.forward(params, examples(model, 2))
    dx, grads = model.backward(y, cache)
    found = {a.dtype for a in (y, *tree.leaves(grads), *([] if dx is None else [dx]))}
    assert found == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    "model",
    [
        Made(3, 2, 8, order=(2, 0, 1), classes=2),
        CausalTransformer(2, 3, 4, 1, 2, classes=2),
        PixelCNN((2, 2, 1), 2, 2, 1, 3, classes=2),
    ],
    ids=["made", "transformer", "convolution"],
)
def test_samples_come_as_often_as_the_model_says(model):
    params, count = drawn(model), 4000
    every = np.array(list(itertools.product(range(model.levels), repeat=int(np.prod(model.shape)))))
    for label in range(2):
        of_all = np.full(len(every), label)
        logits, _ = model.forward(params, every.reshape(-1, *model.shape), of_all)
        nll, _ = sequence_nll_forward(logits, every.reshape(-1, *model.shape))
        p = np.exp(-nll)
        x = sample_in_turn(model, params, Noise(7).at(label), count, np.full(count, label))
        found = (x.reshape(count, -1)[:, None] == every).all(axis=2).mean(axis=0)
        assert np.all(np.abs(found - p) < 5 * np.sqrt(p * (1 - p) / count))


def test_a_made_with_few_hidden_units_still_looks_only_back():
    model = Made(7, 2, hidden=3)
    change = moved(model, drawn(model), examples(model, 1)[0])
    k, j = np.indices(change.shape)
    assert change[k >= j].max() == 0
    assert change[k < j].max() > 1e-6


@pytest.mark.parametrize("name", ["made", "transformer", "convolution"])
def test_a_summary_counts_the_products_of_a_causal_model(name):
    model = MODELS[name]
    lines = model.summary().splitlines()
    assert lines[0].split()[0] == "layer"
    assert lines[-1].split()[1] == f"{tree.size(model.init(Noise(0))):,}"
    named = {"made": "rest/dense1", "transformer": "block1/qkv", "convolution": "h2/conv"}
    row = next(line.split() for line in lines if line.startswith(named[name] + " "))
    assert row[-2] != "."


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Made(3, 1), "at least 2 levels, not 1"),
        (lambda: Made(3, 2, order=(0, 1, 1)), r"0 .. 2 once, not \(0, 1, 1\)"),
        (lambda: Made(0), "sizes of at least 1"),
        (lambda: CausalTransformer(0, 2), "length and blocks"),
        (lambda: CausalTransformer(3, 2, 6, heads=4), "multiple of 4"),
        (lambda: PixelCNN((4, 4, 3), features=8), "multiple of 3"),
        (lambda: PixelCNN((4, 4, 1), kernel=4), "odd kernel"),
        (lambda: PixelCNN((4, 4)), r"\(H, W, C\)"),
        (
            lambda: CausalTransformer(3, 2, 4, 1, 2).forward(
                CausalTransformer(3, 2, 4, 1, 2).init(Noise(0)), np.zeros((2, 4), int)
            ),
            r"takes \(N, 3\)",
        ),
        (
            lambda: PixelCNN((4, 4, 1)).forward({}, np.zeros((2, 3, 4, 1), int)),
            r"takes \(N, 4, 4, 1\)",
        ),
        (lambda: sequence_nll_forward(np.zeros((2, 3, 2)), np.zeros((2, 4), int)), "one row"),
        (
            lambda: Made(3).forward(Made(3).init(Noise(0)), np.zeros((2, 4))),
            "last axis must be 3",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_what_would_do(call, said):
    with pytest.raises(ValueError, match=said):
        call()
