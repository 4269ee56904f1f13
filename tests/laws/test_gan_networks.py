"""Laws of DCGAN, the residual critic, the gated attention block and the residual MLP."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, tree
from refgen.data import Dataset
from refgen.layers.gated_attention import GatedAttention
from refgen.models.critic import Critic
from refgen.models.dcgan import STD, dcgan_discriminator, dcgan_generator
from refgen.models.residual_mlp import ResidualMLP
from refgen.noise import Noise
from refgen.systems import build
from refgen.training import Recipe, train
from tests.test_objectives import witness

seeds = st.integers(0, 2**31)
SMALL = {"model": "dcgan", "hidden": 4, "latent": 3}


def drawn(model, seed):
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), model.init(Noise(0))), rng


def gap(forward, backward, params, x, rng):
    """Return the adjoint gap of a network in x and all parameters.

    By the complex step: at a kink it takes the side that the real part is on, as the page does.
    """
    y, cache = forward(params, x)
    dy = rng.normal(size=y.shape)
    dx, grads = backward(dy, cache)
    names = list(tree.flatten(params))
    assert list(tree.flatten(grads)) == names

    def output(x, *leaves):
        return forward(tree.unflatten(dict(zip(names, leaves, strict=True))), x)[0]

    inputs = [x, *tree.leaves(params)]
    tangents = [rng.normal(size=a.shape) for a in inputs]
    along = check.complex_step(output, inputs, tangents)
    return check.adjoint_gap(tangents, [dx, *tree.leaves(grads)], [dy], [along])


@pytest.mark.parametrize(
    ("shape", "levels"), [((8, 8, 1), 1), ((28, 28, 1), 2), ((32, 32, 3), 3), ((6, 10, 2), 1)]
)
def test_a_dcgan_draws_and_judges_images_of_any_even_size(shape, levels):
    generator, discriminator = dcgan_generator(shape, 5, 8), dcgan_discriminator(shape, 8)
    params = generator.init(Noise(0))
    x, seen, _ = generator.train(params, Noise(1).normal((3, 5)))
    assert x.shape == (3, *shape)
    assert len(seen) == levels
    times, last = 4 / np.abs(np.arctanh(x)).max(), f"up{levels}"
    strong = {**params, last: {**params[last], "w": times * params[last]["w"]}}
    far, _, _ = generator.train(strong, Noise(1).normal((3, 5)))
    assert 0.99 < np.abs(far).max() < 1  # an end is neared, none is passed
    np.testing.assert_allclose(np.arctanh(far), times * np.arctanh(x), rtol=1e-9, atol=1e-9)
    logits, _, _ = discriminator.train(discriminator.init(Noise(2)), x)
    assert logits.shape == (3, 1)


def test_every_level_of_a_dcgan_below_the_widest_image_has_twice_its_channels():
    drawing = dcgan_generator((32, 16, 1), 3, 5).init(Noise(0))
    judging = dcgan_discriminator((32, 32, 1), 5).init(Noise(0))
    assert [drawing[f"norm{i}"]["gamma"].size for i in range(2)] == [10, 5]
    assert [judging[f"down{i}"]["b"].size for i in range(3)] == [5, 10, 20]


def test_the_discriminator_of_a_dcgan_leaks_and_sees_the_brightness_of_its_first_image():
    """No norm at the top, else a shifted image would be told like the first; no dead units."""
    chain = dcgan_discriminator((16, 16, 1), 4)
    assert sorted(chain.start()) == ["norm1"]
    params, rng = drawn(chain, 0)
    x = rng.normal(size=(4, 16, 16, 1))
    y, _ = chain.forward(params, x, chain.start())
    dim = {**params, "down0": {"w": 0 * params["down0"]["w"], "b": 0 * params["down0"]["b"] - 1}}
    dark, cache = chain.forward(dim, x, chain.start())
    _, grads = chain.backward(np.ones_like(dark), cache)
    assert np.abs(grads["down0"]["b"]).max() > 1e-3  # where all are below 0, slopes remain
    assert np.abs(chain.forward(params, x + 3, chain.start())[0] - y).max() > 1e-3


def test_weights_of_a_dcgan_start_as_the_paper_says():
    params = dcgan_generator((28, 28, 1), 64, 16).init(Noise(0))
    for path, a in tree.flatten(params).items():
        if path.endswith("w"):
            assert a.std() == pytest.approx(STD, rel=4 / np.sqrt(2 * a.size)), path
        else:
            assert np.array_equal(a, np.full_like(a, path.endswith("gamma")))


@pytest.mark.parametrize("which", ["generator", "discriminator"])
@pytest.mark.parametrize("mode", ["train", "eval"])
@settings(max_examples=10)
@given(seed=seeds, shape=st.sampled_from([(4, 4, 2), (8, 8, 1)]))
def test_the_backward_of_a_dcgan_is_its_adjoint(which, mode, shape, seed):
    chain = dcgan_generator(shape, 3, 2) if which == "generator" else dcgan_discriminator(shape, 2)
    params, rng = drawn(chain, seed)
    x = rng.normal(size=(4, 3) if which == "generator" else (4, *shape))
    running = tree.map(lambda a: a + 0.1, chain.start())

    def forward(params, x):
        if mode == "eval":
            return chain.forward(params, x, running)
        y, _, cache = chain.train(params, x)
        return y, cache

    assert gap(forward, chain.backward, params, x, rng) < 1e-12


def test_only_in_training_does_a_dcgan_look_across_its_batch():
    chain = dcgan_generator((8, 8, 1), 3, 4)
    params, rng = drawn(chain, 0)
    z, running = rng.normal(size=(6, 3)), chain.start()
    whole, seen, _ = chain.train(params, z)
    few, _, _ = chain.train(params, z[:3])
    assert np.abs(whole[:3] - few).max() > 1e-3
    for _ in range(300):
        running = chain.collect(running, seen)
    fixed, _ = chain.forward(params, z, running)
    alone, _ = chain.forward(params, z[:1], running)
    np.testing.assert_allclose(alone, fixed[:1], atol=1e-13)
    np.testing.assert_allclose(fixed, whole, atol=0.05)  # its statistics are now the batch's


def test_a_discriminator_may_see_data_and_samples_before_either_comes_back():
    chain = dcgan_discriminator((4, 4, 1), 2)
    params, rng = drawn(chain, 0)
    data, samples = rng.normal(size=(2, 4, 4, 4, 1))
    y, _, cache = chain.train(params, data)
    alone = chain.backward(y, cache)
    y, _, cache = chain.train(params, data)
    chain.train(params, samples)
    after = chain.backward(y, cache)
    assert np.array_equal(alone[0], after[0])


@settings(max_examples=10)
@given(seed=seeds, halvings=st.integers(1, 2), classes=st.sampled_from([0, 3]))
def test_the_backward_of_a_critic_is_its_adjoint(seed, halvings, classes):
    critic = Critic((4, 8, 2), 4, halvings, classes)
    params, rng = drawn(critic, seed)
    state = critic.start(params, Noise(1))
    labels = rng.integers(classes, size=3) if classes else None
    x = rng.normal(size=(3, 4, 8, 2))
    found = gap(
        lambda params, x: critic.forward(params, x, state, labels), critic.backward, params, x, rng
    )
    assert found < 1e-12


def steepest(critic, params, state, x):
    """Return |D(a) − D(b)| / |a − b| where b is a, moved a little up its own gradient."""
    y, cache = critic.forward(params, x, state)
    up, _ = critic.backward(np.ones_like(y), cache)
    move = 1e-3 * up / np.linalg.norm(up.reshape(len(x), -1), axis=1)[:, None, None, None]
    return np.abs(critic.forward(params, x + move, state)[0] - y).max() / 1e-3


def test_a_critic_is_as_steep_as_its_norms_allow():
    """Filters of spectral norm 1 as matrices stretch an image at most √9 times, 1 x 1 ones once."""
    critic = Critic((8, 8, 1), 8, 2)
    params, rng = drawn(critic, 0)
    flat = tree.flatten(params)
    larger = tree.unflatten({k: a if k.endswith("/b") else 30 * a for k, a in flat.items()})
    x, state = rng.normal(size=(64, 8, 8, 1)), critic.start(params, Noise(1))
    block = 3 * 3 + 1  # two 3 x 3 convolutions, and the way around them
    bound = (block / 2) ** 2 * block * 2  # averages halve; a sum of 4 pixels stretches twice
    assert steepest(critic, params, state, x) <= bound
    same, again = critic.start(larger, Noise(1)), critic.forward(params, x, state)[0]
    np.testing.assert_allclose(critic.forward(larger, x, same)[0], again, rtol=1e-5)

    def bare(vectors, layer):  # u / σ in place of u makes σ = 1: weights as they are
        if "u" not in vectors:
            return {name: bare(vectors[name], layer[name]) for name in vectors}
        matrix = np.reshape(layer["w"], (-1, layer["w"].shape[-1]))
        return {**vectors, "u": vectors["u"] / (vectors["u"] @ matrix @ vectors["v"])}

    assert steepest(critic, larger, bare(same, larger), x) > bound


def test_a_critic_judges_each_image_alone_and_by_its_label():
    critic = Critic((4, 4, 1), 4, 1, classes=3)
    params, rng = drawn(critic, 0)
    state = critic.start(params, Noise(1))
    x, labels = rng.normal(size=(3, 4, 4, 1)), np.array([0, 1, 2])
    y, _ = critic.forward(params, x, state, labels)
    alone, _ = critic.forward(params, x[1:2], state, labels[1:2])
    np.testing.assert_allclose(alone, y[1:2], atol=1e-13)
    other, _ = critic.forward(params, x, state, labels[::-1])
    assert np.abs(other - y)[[0, 2]].min() > 1e-4
    assert other[1] == pytest.approx(y[1])


@settings(max_examples=15)
@given(seed=seeds, reduction=st.sampled_from([1, 2, 4]))
def test_the_backward_of_gated_attention_is_its_adjoint(seed, reduction):
    layer = GatedAttention(4, reduction)
    params, rng = drawn(layer, seed)
    x = rng.normal(size=(2, 2, 3, 4))
    assert gap(layer.forward, layer.backward, params, x, rng) < 1e-12


def test_a_shut_gate_lets_nothing_through_and_learns_to_open():
    layer, x = GatedAttention(8, 2), np.random.default_rng(0).normal(size=(2, 3, 3, 8))
    y, cache = layer.forward(layer.init(Noise(0)), x)
    assert np.array_equal(y, x)
    dx, grads = layer.backward(np.ones_like(y), cache)
    assert np.array_equal(dx, np.ones_like(x))
    assert grads["gate"] != 0


def test_gated_attention_does_not_know_where_a_place_stands():
    layer = GatedAttention(4, 2)
    params, rng = drawn(layer, 0)
    x, order = rng.normal(size=(2, 6, 1, 4)), rng.permutation(6)
    y, _ = layer.forward(params, x)
    np.testing.assert_allclose(layer.forward(params, x[:, order])[0], y[:, order], atol=1e-13)


def test_gated_attention_is_what_the_paper_writes():
    layer = GatedAttention(4, 2)
    params, rng = drawn(layer, 1)
    x = rng.normal(size=(1, 2, 2, 4))
    places = x.reshape(4, 4)
    f, g, h = (places @ params[k]["w"] + params[k]["b"] for k in "fgh")
    e = np.exp(g @ f.T)
    o = (e / e.sum(axis=1, keepdims=True)) @ h @ params["v"]["w"] + params["v"]["b"]
    y, _ = layer.forward(params, x)
    np.testing.assert_allclose(y.reshape(4, 4), places + params["gate"] * o, atol=1e-13)


@settings(max_examples=15)
@given(seed=seeds, blocks=st.integers(1, 3))
def test_the_backward_of_a_residual_mlp_is_its_adjoint(seed, blocks):
    model = ResidualMLP(3, 2, 4, blocks)
    params, rng = drawn(model, seed)
    assert gap(model.forward, model.backward, params, rng.normal(size=(5, 3)), rng) < 1e-12


def test_the_blocks_of_a_residual_mlp_start_as_the_identity():
    one, many, x = ResidualMLP(3, 2, 4, 1), ResidualMLP(3, 2, 4, 5), np.ones((1, 3))
    y, _ = one.forward(one.init(Noise(0)), x)
    assert np.array_equal(many.forward(many.init(Noise(0)), x)[0], y)


@pytest.mark.parametrize("loss", ["nonsaturating", "minimax"])
@settings(max_examples=10)
@given(seed=seeds)
def test_both_turns_of_a_game_between_dcgans_are_adjoints_of_their_losses(loss, seed):
    system = build("gan", (4, 4, 1), {**SMALL, "generator_loss": loss})
    data = np.random.default_rng(seed).uniform(-1, 1, size=(4, 4, 4, 1))
    assert max(witness(system, data, seed)) < 1e-12


def test_statistics_taken_anew_are_those_of_their_batch():
    """With them the fixed pass repeats the one that saw the batch, and others lean on it alone."""
    chain = dcgan_generator((8, 8, 1), 3, 4)
    params, rng = drawn(chain, 0)
    z = rng.normal(size=(16, 3))
    seen, _, _ = chain.train(params, z)
    np.testing.assert_allclose(
        chain.forward(params, z, chain.standing(params, z))[0], seen, rtol=0, atol=1e-13
    )


def test_a_dcgan_trains_and_its_samples_do_not_know_each_other():
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, size=(64, 8, 8, 1)).astype(np.float32)
    data = Dataset("toy", images, None, "images", 0)
    system = build("gan", (8, 8, 1), {**SMALL, "latent": 4})
    begun = system.init(Noise(0))
    state = train(system, data, Recipe(20, batch=16, lr=1e-3, warmup=5))
    assert state.params.keys() == begun.keys() == {"generator", "discriminator"}
    for path, a in tree.flatten(state.params).items():
        assert a.dtype == np.float32, path
        assert np.isfinite(a).all(), path
    weights = [tree.flatten(p)["generator/dense/w"] for p in (state.params, begun)]
    assert np.abs(weights[0] - weights[1]).max() > 1e-3
    many, few = (system.sample(state.average, n, Noise(1)) for n in (5, 2))
    assert many.shape == (5, 8, 8, 1)
    assert many.dtype == np.float32
    assert np.abs(many).max() < 1
    np.testing.assert_allclose(few, many[:2], rtol=0, atol=1e-6)
    assert np.abs(many[0] - many[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: build("gan", (8, 8, 1), {"model": "unet"}), "there are mlp, dcgan"),
        (lambda: build("gan", (2,), {"model": "dcgan"}), "takes images, not examples of shape"),
        (lambda: build("gan", (7, 7, 1), {"model": "dcgan"}), "multiples of 2, not"),
        (
            lambda: build("gan", (28, 28, 1), {"model": "dcgan", "hidden": 9}),
            "multiple of 2, not 9",
        ),
        (lambda: dcgan_generator((7, 8, 1), 4), "multiples of 2, not"),
        (lambda: dcgan_discriminator((8, 8)), "multiples of 2, not"),
        (lambda: Critic((6, 8, 1), 4, 2), "height as a multiple of 4, not 6"),
        (lambda: GatedAttention(6, 4), "multiple of 4"),
        (lambda: ResidualMLP(3, 2, 4, 0), "blocks must be at least 1"),
        (
            lambda: Critic((4, 4, 1), 4, 1).forward(
                {}, np.ones((1, 4, 4, 1)), {}, np.zeros(1, int)
            ),
            "no use for labels",
        ),
        (
            lambda: Critic((4, 4, 1), 4, 1, 2).forward({}, np.ones((1, 4, 4, 1)), {}),
            "needs labels",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_summary_shows_every_number_of_a_critic():
    """Also those that reach the op only after they were divided by a spectral norm."""
    critic = Critic((8, 8, 1), 4, 1)
    total = critic.summary().splitlines()[-1].split()[1]
    shown = [line.split()[-2] for line in critic.summary().splitlines()[1:-1]]
    assert sum(int(n.replace(",", "")) for n in shown) == int(total.replace(",", ""))
