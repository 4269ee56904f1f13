"""Systems that are told something: what they learn, what they are asked, and who learns when."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen import check, ops, tree
from refgen.data import Dataset
from refgen.data.captions import LANGUAGES
from refgen.data.resize import bicubic, reduce
from refgen.exact import Mixture
from refgen.metrics.psnr import psnr
from refgen.noise import Noise
from refgen.processes.guidance import Guidance
from refgen.systems.cfg import CFG
from refgen.systems.classifier_guidance import ClassifierGuidance
from refgen.systems.ddpm import DDPM
from refgen.systems.latent_diffusion import LatentDiffusion
from refgen.systems.super_resolution import SuperResolution
from refgen.systems.system import Labelled, Request, Turn, draw, refuse_request
from refgen.systems.telling import ByCaption, ByLabel, nothing, sometimes_nothing
from refgen.systems.text import Text
from refgen.systems.walking import answers
from refgen.training import Recipe, Run, require_labels, train
from refgen.training.loop import start, take_step

IMAGE, POINT = (4, 4, 1), (2,)
TINY = {"T": 6, "hidden": 16, "blocks": 1, "classes": 3}


def cases():
    """Return every system in every form, small."""
    small = {"T": 6, "hidden": 16, "blocks": 1}
    return {
        "cfg of points": CFG(POINT, **TINY),
        "cfg mlp": CFG(IMAGE, model="mlp", **TINY),
        "cfg unet": CFG(IMAGE, model="unet", **TINY),
        "cfg dit": CFG(IMAGE, model="dit", **TINY),
        "text": Text(IMAGE, **TINY),
        "text frozen": Text(IMAGE, encoder="frozen", **TINY),
        "latent": LatentDiffusion(IMAGE, channels=3, latent=2, **TINY),
        "latent mlp": LatentDiffusion(IMAGE, channels=3, latent=2, model="mlp", **TINY),
        "latent text": LatentDiffusion(IMAGE, channels=3, latent=2, condition="caption", **TINY),
        "classifier guidance": ClassifierGuidance(IMAGE, judge_hidden=4, **TINY),
        "classifier guidance of points": ClassifierGuidance(POINT, judge_hidden=4, **TINY),
        "super-resolution": SuperResolution(IMAGE, **small),
    }


each = pytest.mark.parametrize("name", cases())


def batch_of(system, count=4, seed=0):
    rng = np.random.default_rng(seed)
    return Labelled(rng.normal(size=(count, *system.shape)), rng.integers(0, 3, count))


def dataset(shape, count=64):
    data = np.tanh(np.random.default_rng(0).normal(size=(count, *shape))).astype(np.float32)
    kind = "images" if len(shape) == 3 else "points"
    return Dataset("some", data, np.arange(count) % 3, kind, 0)


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


@each
def test_samples_depend_on_the_place_alone_and_steps_are_refused(name):
    system = cases()[name]
    params = system.init(Noise(0))
    assert np.array_equal(*(draw(system, params, 2, Noise(3)) for _ in range(2)))
    assert not np.array_equal(draw(system, params, 2, Noise(3)), draw(system, params, 2, Noise(4)))
    with pytest.raises(ValueError, match=r"1 \.\. 6 sampling steps"):
        draw(system, params, 2, Noise(3), steps=7)
    with pytest.raises(ValueError, match="no sampler 'dim'"):
        draw(system, params, 2, Noise(3), sampler="dim")


def moved(system, seed=0):
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), system.init(Noise(seed)))


@pytest.mark.parametrize("name", ["cfg unet", "cfg of points", "latent mlp", "classifier guidance"])
def test_a_label_and_a_weight_are_heard(name):
    system = cases()[name]
    params = moved(system)

    def out(**asked):
        return draw(system, params, 3, Noise(1), request=Request(**asked))

    one, two = out(label=1, guidance=2.0), out(label=2, guidance=2.0)
    assert not np.allclose(one, two)
    assert not np.allclose(one, out(label=1))
    np.testing.assert_array_equal(out(label=1, guidance=0.0), out(label=2, guidance=0.0))
    np.testing.assert_array_equal(out(label=1), out(label=1, guidance=1.0))
    drawn = draw(system, params, 200, Noise(1))
    by_label = [draw(system, params, 200, Noise(1), request=Request(label=y)) for y in range(3)]
    axes = tuple(range(1, drawn.ndim))
    whose = np.array([np.isclose(drawn, own, atol=1e-9).all(axis=axes) for own in by_label])
    assert np.all(whose.sum(axis=0) == 1)  # nobody asked: each sample has some label
    assert whose.sum(axis=1).min() > 40


def test_a_caption_is_heard():
    for name in ("text", "text frozen", "latent text"):
        system = cases()[name]
        params = moved(system)

        def out(caption, system=system, params=params):
            return draw(system, params, 2, Noise(1), request=Request(caption=caption))

        one, other = out("one dark thing0"), out("one bright thing0")
        assert not np.allclose(one, other)
        assert np.array_equal(one, out("One DARK thing0"))


def test_asking_for_nothing_is_the_unconditional_model():
    """γ = 0 walks by the null label: the very walk of DDPM with the network told nothing."""
    system = replace(cases()["cfg mlp"], drop=0.5)
    params = moved(system)
    asked = draw(system, params, 3, Noise(5), request=Request(guidance=0.0))
    plain = DDPM(IMAGE, T=6, hidden=16, blocks=1)
    x = Noise(5).at("start").normal((3, *IMAGE))

    def predict(x, t):
        return answers(system.network, params["model"], x, t, {"labels": np.full(len(x), 3)})

    np.testing.assert_array_equal(asked, system.walk(predict, x, Noise(5)))
    assert plain.process.T == system.process.T


@pytest.mark.parametrize(("gamma", "sizes"), [(None, {3}), (0.0, {3}), (2.0, {6})])
def test_both_answers_come_from_one_call_on_twice_the_batch(monkeypatch, gamma, sizes):
    from refgen.systems import guided

    system, seen = cases()["cfg of points"], []

    def watch(network, params, x, t, given):
        seen.append((t, len(x)))
        return answers(network, params, x, t, given)

    monkeypatch.setattr(guided, "answers", watch)
    draw(system, system.init(Noise(0)), 3, Noise(1), request=Request(guidance=gamma))
    assert [t for t, _ in seen] == [6, 5, 4, 3, 2, 1]
    assert {n for _, n in seen} == sizes


def test_guidance_is_confined_to_its_interval():
    whole, none = cases()["cfg of points"], cases()["cfg of points"]
    params = moved(whole)
    schedule = whole.process
    ratio = schedule.spread(np.arange(1, 7)) / schedule.signal(np.arange(1, 7))
    asked = Request(label=1, guidance=3.0)
    some = replace(whole, guide_above=float(ratio[1]) + 1e-9, guide_below=float(ratio[3]) + 1e-9)
    assert some.guide(asked) == Guidance(3.0, some.guide_above, some.guide_below)
    now = replace(asked, between=(some.guide_above, some.guide_below))
    assert whole.guide(now) == some.guide(asked) != whole.guide(asked)
    everywhere = draw(whole, params, 3, Noise(1), request=asked)
    inside = draw(some, params, 3, Noise(1), request=asked)
    nowhere = draw(replace(none, guide_above=1e9), params, 3, Noise(1), request=asked)
    assert not np.allclose(everywhere, inside)
    assert not np.allclose(nowhere, inside)
    plain = draw(none, params, 3, Noise(1), request=Request(label=1))
    np.testing.assert_array_equal(nowhere, plain)


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


WORLD = Mixture(np.array([0.5, 0.5]), np.array([[-1.0, 0.0], [1.0, 0.0]]), np.array([0.3, 0.3]))


@dataclass(frozen=True)
class Exact:
    """The exact answers of a labelled mixture, in the place of a network."""

    process: Any
    parts: Any = field(
        default_factory=lambda: [WORLD.components([0]), WORLD.components([1]), WORLD]
    )

    def init(self, noise):
        return {"w": np.zeros(1)}

    def forward(self, params, x, t, labels=None):
        a, b = float(self.process.signal(int(t[0]))), float(self.process.spread(int(t[0])))
        out = np.empty_like(x)
        for y, part in enumerate(self.parts):
            out[labels == y] = part.noise_mean(x[labels == y], a, b)
        return out, None


def test_a_system_with_exact_answers_draws_from_the_class_that_is_asked(monkeypatch):
    """At γ = 1 the posterior of the label is the exact one within 3 standard errors."""
    system = CFG(POINT, T=120, classes=2)
    monkeypatch.setattr(CFG, "network", property(lambda self: Exact(self.process)))
    count = 2000
    truth = WORLD.components([1]).sample(200_000, Noise(0))
    exact = WORLD.responsibilities(truth)[:, 1].mean()
    x = draw(
        system, {"model": {"w": np.zeros(1)}}, count, Noise(1), sampler="ddim",
        request=Request(label=1),
    )  # fmt: skip
    share = WORLD.responsibilities(x)[:, 1]
    assert abs(share.mean() - exact) < 3 * share.std() / math.sqrt(count)
    asked = Request(label=1, guidance=3.0)
    params = {"model": {"w": np.zeros(1)}}
    pushed = WORLD.responsibilities(
        draw(system, params, count, Noise(1), sampler="ddim", request=asked)
    )[:, 1]
    assert pushed.mean() > share.mean() + 3 * share.std() / math.sqrt(count)


def test_enlarging_is_told_the_small_picture_and_averages_draws():
    system = cases()["super-resolution"]
    params, rng = moved(system), np.random.default_rng(0)
    small = rng.normal(size=(3, 2, 2, 1))
    one = system.enlarge(params, small, Noise(1))
    assert one.shape == (3, *IMAGE)
    assert not np.allclose(one, system.enlarge(params, small + 1, Noise(1)))
    two = system.enlarge(params, small, Noise(1), draws=2)
    other = system.enlarge(params, small, Noise(1), draws=3)
    assert not np.allclose(one, two)
    third = 3 * other - 2 * two
    assert not np.allclose(third, one)
    with pytest.raises(ValueError, match=r"pictures of \(2, 2, 1\)"):
        system.enlarge(params, rng.normal(size=(3, 4, 4, 1)), Noise(1))


@dataclass(frozen=True)
class Enlarger:
    """The exact answers for grey noise: x = small, each pixel repeated, + what its blocks hide.

    What is hidden is N(0, s² Q), Q the part of a picture whose block means are 0.
    """

    process: Any
    s: float = 0.5

    def init(self, noise):
        return {"w": np.zeros(1)}

    def forward(self, params, x, t, image):
        a, b = float(self.process.signal(int(t[0]))), float(self.process.spread(int(t[0])))
        off = x - a * repeated(told_small(image))
        known = repeated(reduce(off, 2))  # here x says the noise itself
        return known / b + b / ((a * self.s) ** 2 + b * b) * (off - known), None


def repeated(small):
    return small.repeat(2, axis=1).repeat(2, axis=2)


def told_small(image):
    """Return the small picture that `image` is the bicubic enlargement of."""
    basis = bicubic(np.eye(4).reshape(4, 2, 2, 1), 2).reshape(4, -1)
    flat = np.linalg.lstsq(basis.T, image.reshape(len(image), -1).T, rcond=None)[0]
    return flat.T.reshape(-1, 2, 2, 1)


def test_an_exact_enlarger_keeps_the_small_picture_and_errs_as_one_draw_or_many_do(monkeypatch):
    """One draw errs by 2 s², the mean of n by (1 + 1/n) s²: equal draws, or a sum, do not."""
    system = SuperResolution(IMAGE, T=100, hidden=16, blocks=1)
    exact = Enlarger(system.process)
    monkeypatch.setattr(SuperResolution, "network", property(lambda self: exact))
    params, count = {"model": {"w": np.zeros(1)}}, 400
    rng = np.random.default_rng(0)
    small, hidden = rng.normal(size=(count, 2, 2, 1)), rng.normal(size=(count, *IMAGE))
    truth = repeated(small) + exact.s * (hidden - repeated(reduce(hidden, 2)))
    floor = 0.75 * exact.s**2  # of four pixels' freedom a block's mean takes one
    for draws in (1, 4):
        found = system.enlarge(params, small, Noise(1), draws=draws)
        assert np.mean((found - truth) ** 2) == pytest.approx((1 + 1 / draws) * floor, rel=0.05)
        np.testing.assert_allclose(reduce(found, 2), small, atol=1e-9)
    best = np.mean(psnr(repeated(small), truth))
    cost = best - np.mean(psnr(system.enlarge(params, small, Noise(2)), truth))
    assert cost == pytest.approx(10 * math.log10(2), abs=0.15)


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
        run = Run.create(tmp_path / str(stop), {"steps": 6})
        state = start(system, recipe)
        for _ in range(stop):
            state, _ = take_step(system, data, recipe, state)
        run.save(state)
        again, _ = run.latest()
        ended = train(system, data, recipe, run, state=again)
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
    ("system", "request_", "said"),
    [
        (DDPM(POINT), Request(label=1), "a ddpm takes no label: it was trained without any"),
        (cases()["text"], Request(label=1), "takes no label: it takes caption, guidance"),
        (cases()["cfg unet"], Request(caption="one"), "takes no caption: it takes label, guidance"),
        (cases()["super-resolution"], Request(guidance=2.0), "takes no guidance"),
    ],
)
def test_what_a_system_does_not_understand_is_refused(system, request_, said):
    with pytest.raises(ValueError, match=said):
        refuse_request(system, request_)
    with pytest.raises(ValueError, match=said):
        draw(system, system.init(Noise(0)), 1, Noise(0), request=request_)
    refuse_request(system, Request())


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("cfg unet", Request(label=3), "labels are 0 .. 2, not 3"),
        ("cfg unet", Request(label=-1), "labels are 0 .. 2, not -1"),
        ("classifier guidance", Request(label=7), "labels are 0 .. 2"),
        ("text", Request(caption="two dark thing0"), "did you mean"),
        ("latent", Request(caption="one dark thing0"), "told labels, not captions"),
        ("latent text", Request(label=1), "told captions, not labels"),
    ],
)
def test_a_request_for_what_was_not_learned_is_refused(name, asked, said):
    system = cases()[name]
    with pytest.raises(ValueError, match=said):
        draw(system, system.init(Noise(0)), 1, Noise(0), request=asked)


def test_without_dropped_labels_there_is_nothing_to_guide_by():
    system = replace(cases()["cfg unet"], drop=0.0)
    params = system.init(Noise(0))
    draw(system, params, 1, Noise(0), request=Request(label=1, guidance=1.0))
    with pytest.raises(ValueError, match="drop=0 does not teach"):
        draw(system, params, 1, Noise(0), request=Request(guidance=2.0))
    with pytest.raises(ValueError, match="drop=0 does not teach"):
        replace(system, guidance=2.0)


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
        (lambda: LatentDiffusion(POINT), "takes images"),
        (lambda: SuperResolution(POINT), "of images"),
        (lambda: SuperResolution(IMAGE, factor=3), "factor is 2 or more"),
        (lambda: SuperResolution(IMAGE, model="dit"), "needs model=unet"),
        (lambda: ClassifierGuidance(POINT, classes=1), "at least 2 classes"),
    ],
)
def test_settings_that_cannot_be_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
