"""Pictures show what they are given."""

import numpy as np
import pytest

from refgen.cli import pictures

image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")


def size(path):
    with image.open(path) as opened:
        return opened.size


def test_a_grid_enlarges_whole_pixels(tmp_path):
    images = np.zeros((5, 2, 2, 1), np.float32)
    images[0] = [[[-1.0], [1.0]], [[1.0], [-1.0]]]
    pictures.grid(images, tmp_path / "grid.png")
    with image.open(tmp_path / "grid.png") as opened:
        seen = np.asarray(opened)
    scale, gap = 28, 14
    assert seen.shape == (2 * (2 * scale + gap) + gap, 3 * (2 * scale + gap) + gap)
    tile = seen[gap : gap + 2 * scale, gap : gap + 2 * scale]
    assert np.array_equal(tile, np.kron([[0, 255], [255, 0]], np.ones((scale, scale))))
    assert np.all(seen[-gap - 2 * scale :, -gap - 2 * scale :] == 255)  # five images of six places


def test_a_grid_has_colours_and_survives_what_is_not_finite(tmp_path):
    images = np.full((1, 4, 4, 3), np.nan, np.float32)
    images[..., 0] = 7.0
    pictures.grid(images, tmp_path / "grid.png")
    with image.open(tmp_path / "grid.png") as seen:
        assert seen.mode == "RGB"
        assert seen.getpixel((20, 20)) == (255, 0, 0)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_points_are_drawn_beside_the_data(tmp_path, dim):
    rng = np.random.default_rng(0)
    data, samples = rng.normal(size=(300, dim)), 9 * rng.normal(size=(200, dim))
    pictures.picture(samples, data, tmp_path / "points.png")
    assert min(size(tmp_path / "points.png")) > 300
    assert [p.name for p in tmp_path.iterdir()] == ["points.png"]


def test_curves_have_a_panel_for_each_series(tmp_path):
    one = {"model/loss": [(1, 5.0), (2, 4.0), (3, float("nan"))]}
    pictures.curves(one, tmp_path / "one.png", {})
    pictures.curves(one | {"model/kl": [(1, 1.0)]}, tmp_path / "two.png", {})
    heights = [size(tmp_path / f"{n}.png")[1] for n in ("one", "two")]
    assert heights[1] > 1.5 * heights[0]


def test_an_axis_says_what_the_losses_of_its_player_are_in(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        pictures, "_save_figure", lambda figure, _: said.extend(a.get_ylabel() for a in figure.axes)
    )
    history = {name: [(1, 1.0), (2, 2.0)] for name in ("coder/loss", "model/loss", "critic/real")}
    pictures.curves(history, tmp_path / "x.png", {"coder": "nats", "model": "loss"})
    assert said == ["nats", "loss", "logit"]


def test_smoothing_keeps_a_constant_and_the_mean_of_noise():
    assert np.allclose(pictures.smooth(np.full(50, 3.0)), 3.0)
    noisy = np.random.default_rng(0).normal(size=5000)
    assert np.std(pictures.smooth(noisy)) < 0.2
