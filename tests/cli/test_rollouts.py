"""What is seen and said of a policy."""

import numpy as np
import pytest

from refgen.cli import rollouts
from refgen.data.demonstrations import demonstrate, load_demonstrations
from refgen.data.navigation import world
from refgen.noise import Noise
from refgen.systems.bc import BC
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
