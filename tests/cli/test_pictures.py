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


def test_a_title_stands_above_a_grid_and_is_not_cut_off(tmp_path):
    images = np.zeros((4, 8, 8, 1), np.float32)
    for name, title in (("bare", ""), ("short", "vae"), ("long", "vae " * 50)):
        pictures.grid(images, tmp_path / name, title)
    bare, short, long = (size(tmp_path / name) for name in ("bare", "short", "long"))
    assert short[0] == bare[0] < long[0]
    assert short[1] == long[1] > bare[1]
    with image.open(tmp_path / "short") as opened:
        seen = np.asarray(opened)
    assert seen[: short[1] - bare[1]].min() < 100
    with image.open(tmp_path / "bare") as opened:
        assert np.array_equal(seen[short[1] - bare[1] :], np.asarray(opened))


def test_a_title_says_what_was_asked():
    assert pictures.titled("ddpm", 1) == "ddpm after 1 step"
    asked = {"caption": "two dark threes", "guidance": 2.0, "between": (0.1, 3.0)}
    assert pictures.titled("text", 2000, "ddim", 50, **asked) == (
        'text after 2,000 steps: ddim, 50 sampling steps, caption "two dark threes", guidance 2, '
        "between 0.1 3"
    )


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


@pytest.fixture
def drawn(monkeypatch):
    """Return the figures that are written."""
    figures = []
    monkeypatch.setattr(pictures, "_save_figure", lambda figure, _: figures.append(figure))
    return figures


def test_points_are_framed_by_samples_too_and_axes_are_labelled(drawn):
    rng = np.random.default_rng(0)
    data, samples = rng.normal(size=(300, 20)), 2 * rng.normal(size=(1000, 20))
    pictures.scatter(samples, data, None)
    pictures.scatter(samples[:50, :2] * 1e6, data[:, :2], None)
    wide, lost = (figure.axes[1] for figure in drawn)
    low, high = wide.get_xlim()
    assert np.mean((samples[:, :2] < low) | (samples[:, :2] > high)) < 0.01
    assert [ax.get_xlabel() for ax in (wide, lost)] == ["coordinate 1 of 20", "coordinate 1"]
    assert lost.get_title(loc="right") == "50 of 50 outside"
    assert np.ptp(lost.get_xlim()) < 50  # the data are still to be seen
    assert lost.lines[0].get_markersize() > wide.lines[0].get_markersize()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("far", [0.0, 1e9, np.nan])
def test_a_few_points_are_drawn_without_warnings(tmp_path, dim, far):
    one, samples = np.ones((1, dim)), np.ones((3, dim)) + far
    for name, data in (("one", one), ("two", np.concatenate([one, one + 1]))):
        pictures.scatter(samples, data, tmp_path / f"{name}.png")
        assert min(size(tmp_path / f"{name}.png")) > 300


def test_a_histogram_of_few_has_few_bins_and_a_label(drawn):
    rng = np.random.default_rng(0)
    for count in (30, 3000):
        pictures.scatter(rng.normal(size=(count, 1)), rng.normal(size=(2000, 1)), None)
    bars = [len(figure.axes[0].containers[0].patches) for figure in drawn]
    assert bars == [8, 60]
    assert drawn[0].axes[0].get_xlabel() == "value"


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
