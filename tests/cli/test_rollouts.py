"""What is seen and said of a policy."""

import numpy as np
import pytest

from refgen.cli import rollouts
from refgen.data.demonstrations import demonstrate, load_demonstrations
from refgen.data.navigation import STEPS, world
from refgen.noise import Noise
from refgen.systems.bc import BC
from refgen.systems.vae import VAE
from tests.systems.test_policies import SHAPE, Expert, shaken


@pytest.mark.parametrize("name", ["navigation", "navigation-goals"])
def test_paths_are_drawn_in_their_world(tmp_path, name):
    from PIL import Image

    walked = demonstrate(world(name), 30, Noise(0)).paths.astype(np.float32)
    walked[:5, -1] = 0.0  # these end in the obstacle, where there is one
    rows = load_demonstrations(name).data[:300]
    rollouts.picture(walked, rows, name, tmp_path / "paths.png")
    with Image.open(tmp_path / "paths.png") as image:
        assert min(image.size) > 300
        colours = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 50


@pytest.mark.parametrize("name", ["navigation", "navigation-goals"])
def test_a_picture_says_what_is_what_and_how_many_arrive(monkeypatch, name):
    drawn = []
    monkeypatch.setattr(rollouts, "_save_figure", lambda figure, _: drawn.append(figure))
    place = world(name)
    straight = place.rollout(lambda s, g, _: ((g - s) / 2)[:, None], 40, Noise(0))
    lost = place.rollout(lambda s, g, _: np.ones((40, 1, 2)), 40, Noise(1))
    walked = demonstrate(place, 40, Noise(0))
    for found in (straight, lost, walked):
        rollouts.picture(found.paths.astype(np.float32), found.paths, name, None)
        said = drawn[-1].axes[1].get_title(loc="right")
        assert said.startswith(f"{found.reached.sum()} of 40 arrive")
        assert (f", {found.touched.sum()} touch" in said) == (name == "navigation")
    words = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    if name == "navigation":
        assert words == ["obstacle", "goal", "start", "touches the obstacle"]
    else:
        assert words == ["goals, anywhere on the ring", "start"]


def test_samples_are_shown_as_what_they_are(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(rollouts, "picture", lambda *args: drawn.append(args))
    monkeypatch.setattr(rollouts.pictures, "picture", lambda *args: drawn.append(args))
    samples, data, path = np.zeros((2, 31, 2)), np.zeros((5, 20)), tmp_path / "a.png"
    rollouts.show(BC(SHAPE, world="navigation-goals"), samples, data, path)
    rollouts.show(VAE((20,)), data, data, path)
    assert [args[2:] for args in drawn] == [("navigation-goals", path), (path, "")]


def test_paths_are_drawn_where_the_demonstrations_are_gone(tmp_path):
    walked = demonstrate(world("navigation"), 5, Noise(0)).paths
    rollouts.picture(walked, walked, "navigation", tmp_path / "paths.png")
    assert (tmp_path / "paths.png").stat().st_size > 5000


def test_a_policy_is_trained_judged_and_sampled_without_naming_data(tmp_path, refgen, monkeypatch):
    monkeypatch.setattr(rollouts, "EPISODES", 40)
    trained = refgen("train", "goal-bc", "--steps", 2, "--quiet", "--set", "hidden=4")
    assert trained.code == 0, trained.err
    assert "navigation-goals: " in trained.out
    run = tmp_path / "runs" / "goal-bc-navigation-goals"
    drawn = refgen("sample", run, "-n", 5, "--npz", "paths.npz", "--out", "paths.png")
    assert drawn.code == 0, drawn.err
    assert np.load(tmp_path / "paths.npz")["samples"].shape == (5, STEPS + 1, 2)
    refused = refgen("train", "bc", "--data", "digits", "--steps", 2)
    assert refused.code == 2
    assert "Take --data navigation" in refused.err


def test_a_policy_walks_in_the_world_it_was_shown(tmp_path, refgen, monkeypatch):
    monkeypatch.setattr(rollouts, "EPISODES", 40)
    answer = refgen(
        "train", "bc", "--data", "navigation-goals", "--steps", 2, "--quiet", "--set", "hidden=4"
    )
    assert "navigation-goals: " in answer.out
    config = (tmp_path / "runs" / "bc-navigation-goals" / "config.toml").read_text()
    assert 'world = "navigation-goals"' in config


def test_a_policy_is_judged_by_where_it_comes_to(monkeypatch):
    monkeypatch.setattr(rollouts, "EPISODES", 60)
    data = load_demonstrations("navigation")
    expert = Expert(SHAPE, chunk=1, hidden=5)
    lines = rollouts.judge(expert, shaken(expert), data, Noise(0))
    assert lines[0] == (
        "navigation: 100.0 % of 60 episodes reach the goal, 0.0 % touch the obstacle"
    )
    assert "100.0 % go left and 0.0 % right; the expert goes left in 50 %" in lines[1]
    assert "0.000 from the expert's mean" in lines[2]
    lost = BC(SHAPE, hidden=5, world="navigation-goals")
    goals = load_demonstrations("navigation-goals")
    lines = rollouts.judge(lost, shaken(lost), goals, Noise(0))
    assert len(lines) == 2
    assert "obstacle" not in lines[0]
