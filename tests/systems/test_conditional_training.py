"""Systems that are told something: what they learn and who learns when."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, ops, tree
from refgen.data import Dataset
from refgen.data.captions import LANGUAGES
from refgen.noise import Noise
from refgen.systems.cfg import CFG
from refgen.systems.classifier_guidance import ClassifierGuidance
from refgen.systems.latent_diffusion import LatentDiffusion
from refgen.systems.super_resolution import SuperResolution
from refgen.systems.system import Labelled, Request, Turn, draw
from refgen.systems.telling import ByCaption, ByLabel, nothing, sometimes_nothing
from refgen.systems.text import Text
from refgen.training import Recipe, require_labels, train
from refgen.training.loop import start, take_step
from tests.systems.conditional import IMAGE, POINT, TINY, batch_of, cases, dataset, each, moved
from tests.systems.stopped import stopped_and_ended


@each
@settings(max_examples=3)
@given(seed=st.integers(0, 2**31))
def test_the_gradient_of_every_turn_is_the_adjoint_of_its_loss(name, seed):
    system, rng = cases()[name], np.random.default_rng(seed)
    params = tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), system.init(Noise(seed)))
    for turn in system.turns():
        data = batch_of(system, seed=seed)
        data = data if turn.labelled else data.data
        theta = params[turn.player]
        _, grads = turn.gradient(params, data, Noise(seed))
        assert list(tree.flatten(grads)) == list(tree.flatten(theta))
        direction = tree.map(lambda a: rng.normal(size=a.shape), theta)
        if name == "text frozen":  # what is frozen is not moved, so it must not move here
            direction["encoder"] = tree.map(np.zeros_like, direction["encoder"])

        def mean_loss(*moved, turn=turn, data=data, theta=theta):
            named = tree.unflatten(dict(zip(tree.flatten(theta), moved, strict=True)))
            terms, _ = turn.gradient({**params, turn.player: named}, data, Noise(seed))
            return np.mean(terms["loss"])

        leaves = [list(tree.leaves(a)) for a in (theta, direction, grads)]
        along = check.complex_step(mean_loss, leaves[0], leaves[1])
        assert check.adjoint_gap(leaves[1], leaves[2], [np.ones(())], [along]) < 1e-12, turn.player


@each
def test_twenty_steps_and_a_sample_are_finite(name):
    system, data = cases()[name], dataset(cases()[name].shape)
    state = train(system, data, Recipe(20, batch=8, lr=1e-3, warmup=5))
    for leaf in tree.leaves(state.params):
        assert leaf.dtype == np.float32
    for sampler in system.samplers:
        x = draw(system, state.average, 3, Noise(1), sampler=sampler, steps=4)
        assert x.shape == (3, *system.shape)
        assert x.dtype == np.float32
        assert np.isfinite(x).all()


@pytest.mark.parametrize("teller", [ByLabel(5), ByCaption(LANGUAGES["scenes"])])
def test_examples_are_told_nothing_with_the_probability_that_is_set(teller):
    told = teller.numbered(np.arange(4000) % 5)
    blank = nothing(teller, told)
    for chance in (0.0, 0.1, 0.7):
        heard = sometimes_nothing(teller, told, chance, Noise(0).at(str(chance)), ops.words)
        gone = np.all((heard == blank).reshape(4000, -1), axis=1)
        kept = np.all((heard == told).reshape(4000, -1), axis=1)
        assert np.all(gone | kept)
        assert abs(gone.mean() - chance) <= 4 * math.sqrt(chance * (1 - chance) / 4000)


def test_the_null_row_learns_from_dropped_labels_and_from_them_alone():
    for drop, chance in ((0.0, False), (0.5, True)):
        system = replace(cases()["cfg unet"], drop=drop)
        params = moved(system)
        batch = batch_of(system, count=32)
        _, grads = system.gradient(params, batch, Noise(0))
        assert bool(grads["condition"]["label"]["table"][3].any()) == chance


def test_a_latent_diffusion_is_a_guided_diffusion_of_codes():
    """The very loss and gradient of cfg on the codes, told of the pictures; then decoded."""
    system = replace(cases()["latent"], drop=0.3)
    plain = CFG(system.diffused, model="unet", drop=0.3, **TINY)
    params, batch = moved(system), batch_of(system, count=6)
    codes = system.autoencoder.encode(params["autoencoder"], batch.data)
    found = system.gradient(params, batch, Noise(1))
    due = plain.gradient({"model": params["model"]}, Labelled(codes, batch.labels), Noise(1))
    np.testing.assert_array_equal(found[0]["loss"], due[0]["loss"])
    for one, other in zip(tree.leaves(found[1]), tree.leaves(due[1]), strict=True):
        np.testing.assert_array_equal(one, other)
    z = draw(plain, {"model": params["model"]}, 3, Noise(2), request=Request(label=1))
    x = draw(system, params, 3, Noise(2), request=Request(label=1))
    np.testing.assert_allclose(x, system.autoencoder.decode(params["autoencoder"], z), rtol=1e-12)


def test_every_word_of_a_caption_is_used_once_it_is_learned():
    """Four greys, each with a caption: told another brightness or another noun, the loss rises."""
    rng = np.random.default_rng(0)
    labels, bright = rng.integers(0, 2, 256), rng.integers(0, 2, 256)
    grey = 1.1 * bright + 0.5 * labels - 0.8
    pictures = np.float32(grey)[:, None, None, None] * np.ones(IMAGE, np.float32)
    data = Dataset("greys", pictures, labels, "images", 0)
    system = Text(IMAGE, T=20, hidden=16, blocks=1, classes=2, drop=0.0)
    params = train(system, data, Recipe(120, batch=16, lr=1e-2, warmup=20)).params
    number = system.teller.language.numbers(pictures, labels)
    assert np.array_equal(number, labels + 2 * bright)

    def loss(numbers):
        objective = system.objective(system.teller.numbered(numbers))
        return objective.forward(params["model"], pictures, Noise(5))[0]["loss"].mean()

    own = loss(number)
    assert loss((number + 2) % 4) > 1.5 * own  # the other brightness
    assert loss(number ^ 1) > 1.2 * own  # the other noun
    assert loss(number[rng.permutation(256)]) > 1.2 * own


def test_super_resolution_needs_no_labels_and_the_others_do():
    plain = Dataset("plain", dataset(IMAGE).data, None, "images", 0)
    require_labels(cases()["super-resolution"], plain)
    for name in ("cfg unet", "text", "latent", "classifier guidance"):
        with pytest.raises(ValueError, match="plain has none"):
            require_labels(cases()[name], plain)
    many = Dataset("many", dataset(IMAGE).data, np.arange(64) % 5, "images", 0)
    with pytest.raises(ValueError, match="set classes=5"):
        require_labels(cases()["cfg unet"], many)


def test_the_autoencoder_learns_first_and_the_model_after_it():
    system, data = cases()["latent"], dataset(IMAGE)
    recipe = Recipe(10, batch=8, lr=1e-2, warmup=1)
    states, rows = [start(system, recipe)], []

    def hear(state, row):
        states.append(state)
        rows.append(row)

    train(system, data, recipe, on_step=hear)
    for i in range(10):
        before, after = states[i].params, states[i + 1].params
        for player, turn in (("autoencoder", i < 4), ("model", i >= 4)):
            same = all(
                np.array_equal(a, b)
                for a, b in zip(
                    tree.leaves(before[player]), tree.leaves(after[player]), strict=True
                )
            )
            assert same != turn, (player, i)
        assert ("autoencoder/loss" in rows[i]) == (i < 4)
        assert ("model/loss" in rows[i]) == (i >= 4)


def test_a_player_s_rates_rise_and_fall_in_its_own_part(monkeypatch):
    from refgen.training.optimizer import Adam

    seen, update = [], Adam.update

    def watch(self, ops, params, grads, moments, k):
        seen.append((self.updates, k))
        return update(self, ops, params, grads, moments, k)

    monkeypatch.setattr(Adam, "update", watch)
    train(cases()["latent"], dataset(IMAGE), Recipe(10, batch=4))
    assert seen == [(4, k) for k in range(1, 5)] + [(6, k) for k in range(1, 7)]


def test_a_run_stopped_between_two_players_goes_on_to_the_same_bits(tmp_path):
    system, data = cases()["latent"], dataset(IMAGE)
    recipe = Recipe(6, batch=4, save_every=2)
    whole = train(system, data, recipe)
    for stop in (2, 4):
        ended = stopped_and_ended(system, data, recipe, stop, tmp_path / str(stop))
        for a, b in zip(tree.leaves(whole.params), tree.leaves(ended.params), strict=True):
            assert np.array_equal(a, b)


def test_who_goes_on_beyond_the_end_repeats_the_last_players_turn():
    system, recipe = cases()["latent"], Recipe(2, batch=4)
    state = train(system, dataset(IMAGE), recipe)
    _, row = take_step(system, dataset(IMAGE), recipe, state)
    assert "model/loss" in row


def test_turns_cover_a_training_without_gap_or_overlap():
    for share in (0.1, 1 / 3, 0.5, 0.97):
        for steps in (1, 2, 7, 100):
            first = Turn("a", print, until=share).span(steps)
            second = Turn("b", print, since=share).span(steps)
            assert [*first, *second] == list(range(steps))
    assert Turn("a", print).span(5) == range(5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: CFG(POINT, classes=0), "one class at least"),
        (lambda: CFG(POINT, drop=1.0), "probability below 1"),
        (lambda: CFG(POINT, schedule="cosin"), "unknown schedule"),
        (lambda: CFG(POINT, variance="small"), "variance"),
        (lambda: CFG(POINT, clip=-1.0), "clip"),
        (lambda: CFG(POINT, sample_steps=-1), "sample_steps"),
        (lambda: CFG(POINT, guide_above=2.0, guide_below=1.0), "low < high"),
        (lambda: CFG(POINT, model="unet"), "use model=mlp"),
        (lambda: CFG(POINT, weight="none"), "unknown loss weight"),
        (lambda: Text(IMAGE, model="mlp"), "needs model=unet"),
        (lambda: Text(IMAGE, encoder="big"), "learned, frozen"),
        (lambda: Text(IMAGE, language="x"), "unknown language"),
        (lambda: Text(POINT), "captions are of images"),
        (lambda: LatentDiffusion(IMAGE, condition="sound"), "label, caption"),
        (lambda: LatentDiffusion(IMAGE, share=1.0), "between 0 and 1"),
        (lambda: LatentDiffusion(IMAGE, var=0.0), "var > 0"),
        (lambda: LatentDiffusion(POINT), "is of images.*take --data digits"),
        (lambda: SuperResolution(POINT), "of images"),
        (lambda: SuperResolution(IMAGE, factor=3), "factor is 2 or more"),
        (lambda: SuperResolution(IMAGE, model="dit"), "needs model=unet"),
        (lambda: ClassifierGuidance(POINT, classes=1), "at least 2 classes"),
    ],
)
def test_settings_that_cannot_be_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
