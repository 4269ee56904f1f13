"""Guided systems: what they draw with exact answers, who learns what, and what a user may ask."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from refgen import tree
from refgen.cli import main
from refgen.exact import Mixture
from refgen.noise import Noise
from refgen.processes import cosine
from refgen.samplers import sample_ancestral, sample_ddim
from refgen.systems import SYSTEMS, build
from refgen.systems.cfg import CFG
from refgen.systems.classifier_guidance import ClassifierGuidance
from refgen.systems.ddpm import DDPM
from refgen.systems.system import Labelled, Request, draw

IDS = ("cfg", "classifier-guidance")
WORLD = Mixture(  # labels 0 and 1; the first has the first two components
    np.array([0.3, 0.2, 0.5]),
    np.array([[-1.2, 0.0], [1.0, 0.9], [0.6, -0.4]]),
    np.array([0.25, 0.2, 0.3]),
)
CLASSES = ([0, 1], [2])
PARTS = [*(WORLD.components(members) for members in CLASSES), WORLD]
COUNT, SCHEDULE = 2000, cosine(120)
PARAMS = {"model": {"w": np.zeros(1)}, "classifier": {"w": np.zeros(1)}}


def of_label(x, label, a=1.0, b=0.0):
    """Return p(label | x), (N,)."""
    return np.sum(WORLD.responsibilities(x, a, b)[:, CLASSES[label]], axis=1)


@dataclass(frozen=True)
class ExactNoise:
    """E[noise | x, label], in the place of a network; label 2, or none, is no label."""

    def forward(self, params: Any, x: Any, t: Any, labels: Any = None) -> tuple[Any, None]:
        a, b = float(SCHEDULE.signal(int(t[0]))), float(SCHEDULE.spread(int(t[0])))
        labels = np.full(len(x), 2) if labels is None else labels
        out = np.empty_like(x)
        for y, part in enumerate(PARTS):
            out[labels == y] = part.noise_mean(x[labels == y], a, b)
        return out, None


@dataclass(frozen=True)
class ExactClassifier:
    """log p(label | x) in the place of a network, and its adjoint in x."""

    def forward(self, params: Any, x: Any, levels: Any) -> tuple[Any, Any]:
        a, b = (float(level) for level in levels[0])
        return np.log(np.stack([of_label(x, y, a, b) for y in (0, 1)], axis=1)), (x, a, b)

    def backward(self, dlogits: Any, cache: Any) -> tuple[Any, None]:
        x, a, b = cache
        slopes = [part.score(x, a, b) - WORLD.score(x, a, b) for part in PARTS[:2]]
        return sum(dlogits[:, y, None] * slopes[y] for y in (0, 1)), None


@pytest.fixture
def exact(monkeypatch):
    """Return the two systems with exact answers in the place of what they would learn."""
    settings = {"T": SCHEDULE.T, "classes": 2, "hidden": 4, "blocks": 1}
    free, led = CFG((2,), **settings), ClassifierGuidance((2,), **settings)
    judging = replace(led.judging, model=ExactClassifier())
    monkeypatch.setattr(CFG, "network", ExactNoise())
    monkeypatch.setattr(ClassifierGuidance, "network", ExactNoise())
    monkeypatch.setattr(ClassifierGuidance, "judging", judging)
    return {"cfg": free, "classifier-guidance": led}


def exact_share(label, gamma):
    """Return E p(label | x) under p(x) p(label | x)^γ / Z, by quadrature."""
    axis = np.linspace(-5, 5, 301)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    weight = np.exp(WORLD.log_density(grid)) * of_label(grid, label) ** gamma
    return float(weight @ of_label(grid, label) / weight.sum())


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
@pytest.mark.parametrize("name", IDS)
def test_asked_for_a_label_at_weight_1_samples_have_its_posterior(exact, name, sampler):
    """Within 3 standard errors. γ − 1 for γ, a gradient downhill, or b left out is caught."""
    system = replace(exact[name], variance="beta")
    for label in (0, 1):
        x = draw(system, PARAMS, COUNT, Noise(3), sampler=sampler, request=Request(label=label))
        share = of_label(x, label)
        error = share.std() / math.sqrt(COUNT)
        assert abs(share.mean() - exact_share(label, 1.0)) < 3 * error
        for wrong in (0.0, 2.0):
            assert abs(share.mean() - exact_share(label, wrong)) > 6 * error


@pytest.mark.parametrize("name", IDS)
def test_a_larger_weight_draws_further_into_the_class(exact, name):
    one, three = (
        of_label(draw(exact[name], PARAMS, COUNT, Noise(3), sampler="ddim", request=asked), 1)
        for asked in (Request(label=1), Request(label=1, guidance=3.0))
    )
    assert three.mean() > one.mean() + 3 * one.std() / math.sqrt(COUNT)


def test_both_systems_draw_the_same_points_from_exact_answers(exact):
    """A classifier and two answers of one network are one guide, at every weight and level."""
    for gamma in (0.0, 1.0, 3.0):
        asked = Request(label=1, guidance=gamma)
        one, other = (draw(exact[name], PARAMS, 20, Noise(5), request=asked) for name in IDS)
        np.testing.assert_allclose(one, other, atol=1e-8)


def test_at_weight_0_nobody_asks_the_classifier_and_the_model_walks_alone(monkeypatch):
    small = {"T": 6, "hidden": 8, "blocks": 1}
    system, plain = (
        ClassifierGuidance((2,), classes=3, judge_hidden=4, **small),
        DDPM((2,), **small),
    )
    params = tree.map(lambda a: a + 0.1, system.init(Noise(0)))

    def never(self, *asked):
        raise AssertionError("asked for a gradient that counts nothing")

    monkeypatch.setattr(ClassifierGuidance, "log_gradient", never)
    alone = draw(system, params, 5, Noise(1), request=Request(label=2, guidance=0.0))
    assert np.array_equal(alone, draw(plain, {"model": params["model"]}, 5, Noise(1)))
    with pytest.raises(AssertionError, match="asked for a gradient"):
        draw(system, params, 5, Noise(1), request=Request(label=2))


def test_model_and_classifier_do_not_meet_while_they_learn():
    """Each one's gradient is the same whatever the other's parameters, and the model's no label."""
    system = ClassifierGuidance((2,), T=6, hidden=8, blocks=1, classes=3, judge_hidden=4)
    params, rng = system.init(Noise(0)), np.random.default_rng(0)
    batch = Labelled(rng.normal(size=(6, 2)), rng.integers(0, 3, 6))
    model, classifier = system.turns()
    assert (model.labelled, classifier.labelled) == (False, True)
    for turn, data, other in ((model, batch.data, "classifier"), (classifier, batch, "model")):
        changed = {**params, other: tree.map(lambda a: a + 1, params[other])}
        for one, two in zip(
            *(tree.leaves(turn.gradient(p, data, Noise(2))[1]) for p in (params, changed)),
            strict=True,
        ):
            assert np.array_equal(one, two)


@pytest.mark.parametrize("clip", [0.0, 0.7])
@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_a_walk_stays_in_the_type_of_its_parameters(clip, sampler):
    """A clip by float64 levels widened x at the first step, and no kernel takes float64."""
    system, seen = DDPM((2,), T=6, hidden=8, blocks=1, clip=clip), set()

    def predict(x, t):
        seen.add(x.dtype)
        return 0.5 * x

    x = system.walk(predict, np.ones((3, 2), np.float32), Noise(0), sampler=sampler)
    assert seen == {np.dtype(np.float32)}
    assert x.dtype == np.float32


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_a_limit_on_the_data_is_that_of_the_samplers(sampler):
    """At the last step, which adds nothing, the data themselves lie within it."""
    system, start = DDPM((2,), T=8, hidden=8, blocks=1, clip=0.7), Noise(1).normal((50, 2))

    def predict(x, t):
        return 0.5 * x + 0.1 * t

    found = system.walk(predict, start, Noise(0), sampler=sampler)
    by_name = {"ancestral": sample_ancestral, "ddim": sample_ddim}[sampler]
    place = Noise(0).at("walk")
    wanted = by_name(predict, start, system.process, place, clip=0.7)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)
    assert np.abs(found).max() == pytest.approx(0.7)
    assert np.abs(by_name(predict, start, system.process, place)).max() > 0.8


@pytest.mark.parametrize("name", IDS)
def test_pictures_are_drawn_by_a_unet_and_points_by_an_mlp_unless_a_model_is_named(name):
    entry = SYSTEMS[name]
    for kind, chosen, shape in (("images", "unet", (8, 8, 1)), ("points", "mlp", (2,))):
        recipe = entry.recipe(kind)
        settings = {k: v for k, v in recipe.items() if k not in {"steps", "batch", "lr"}}
        system = build(name, shape, settings)
        assert system.model == chosen
        assert (system.guidance, system.requests) == (1.0, ("label", "guidance", "between"))
    assert {"label", "guidance"} <= set(entry.make.requests)


@pytest.fixture
def user(tmp_path, monkeypatch, capsys):
    """Return a command line in a folder of its own, with a tiny labelled file."""
    monkeypatch.setenv("REFGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(40, 2))
    lines = [f"{a:.3f},{b:.3f},{i % 3}" for i, (a, b) in enumerate(rows)]
    (tmp_path / "points.csv").write_text("\n".join(["x,y,label", *lines]))

    def run(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    def trained(name, *more):
        small = ("--set", "T=6", "--set", "hidden=8", "--set", "blocks=1", *more)
        data = ("--data", "points.csv", "--steps", 2, "--batch", 4, "--backend", "numpy")
        code, _, err = run("train", name, *data, "--quiet", "--out", name, *small)
        assert code == 0, err
        return name

    run.trained = trained
    return run


@pytest.mark.parametrize("name", IDS)
def test_a_label_and_a_weight_are_asked_for_by_the_command_line(user, name):
    folder = user.trained(name)
    asked = ("-n", 3, "--backend", "numpy", "--npz")
    drawn = {}
    for label, weight in ((1, 2), (2, 2), (1, 0), (2, 0)):
        file = f"{label}{weight}.npz"
        code, *_ = user("sample", folder, "--label", label, "--guidance", weight, *asked, file)
        assert code == 0
        drawn[label, weight] = np.load(file)["samples"]
    assert not np.array_equal(drawn[1, 2], drawn[2, 2])
    assert np.array_equal(drawn[1, 0], drawn[2, 0])  # weight 0 forgets the label
    for wrong, said in (
        (("--label", 3), "labels are 0 .. 2, not 3"),
        (("--label", "one"), "--label"),
        (("--guidance", "nan"), "'nan' is not a number"),
        (("--caption", "a three"), "takes no caption: it takes label, guidance"),
        (("--between", 0.5, 2), "--between limits a guidance, and there is none at weight 1"),
        (("--between", 0.5, 2, "--guidance", 1), "give --guidance too, as --guidance 2"),
        (("--guidance", 2, "--between", 2, 1), "comes first, 0 or more, as --between 1 2"),
        (("--guidance", 2, "--between", 1, 1), "--between 1 1: the lower noise level"),
    ):
        code, _, err = user("sample", folder, *wrong)
        assert code == 2
        assert said in err


@pytest.mark.parametrize("name", IDS)
def test_where_no_label_is_asked_for_it_is_said_that_labels_are_drawn(user, name):
    folder = user.trained(name)
    file = ("-n", 2, "--backend", "numpy", "--npz", "drawn.npz")
    code, _, err = user("sample", folder, "--guidance", 2, "--between", 0.5, 2, *file)
    assert code == 0
    assert "no --label: each of 3 labels is drawn as likely" in err
    code, _, err = user("sample", folder, "--label", 1, *file)
    assert code == 0
    assert "drawn as likely" not in err


def test_who_has_nothing_to_guide_by_says_so(user):
    plain, sure = user.trained("ddpm"), user.trained("cfg", "--set", "drop=0")
    for asked in (("--guidance", 2), ("--label", 1, "--guidance", 2)):
        code, _, err = user("sample", plain, *asked)
        assert code == 2
        assert "it was trained without any; systems that do: cfg, classifier-guidance" in err
    code, _, err = user("sample", sure, "--label", 1, "--guidance", 2, "--backend", "numpy")
    assert code == 2
    assert "drop=0 does not teach: train with drop=0.1, or take guidance 1" in err
    assert user("sample", sure, "--label", 1, "-n", 2, "--backend", "numpy")[0] == 0
