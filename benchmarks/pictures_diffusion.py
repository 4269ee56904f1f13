"""The pictures of diffusion: python -m benchmarks.pictures_diffusion [trajectories] [samplers].

trajectories has exact predictions and no network, and is drawn in half a minute; samplers trains
one network on the toy of benchmarks/toys.py first, and takes a few minutes.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pictures import FOLDER, INK, PAPER
from benchmarks.toys import SAMPLERS, Row, Start, walker
from benchmarks.toys_taught import WORLD, Predict
from refgen.data.toys import toy
from refgen.exact.world import World
from refgen.metrics import sliced_wasserstein
from refgen.noise import Noise
from refgen.processes import VP, discretized, karras, stride, times_on_path
from refgen.samplers import (
    sample_ancestral,
    sample_ddim,
    sample_probability_flow,
    sample_reverse_sde,
    trace,
)
from refgen.typing import Array

RED, BLUE, GREEN, GREY = "#c8452d", "#2b5f9e", "#2d8a5f", "#5b7083"
AMBER, VIOLET = "#c98a1b", "#7d4f9e"
PATH, LEVELS = VP(), 1000
SCHEDULE = discretized(PATH, LEVELS)
SHOTS = (0.0, 0.08, 0.2, 0.4, 1.0)
CALLS = (5, 10, 20, 50, 100, 200)
COLUMNS = (5, 10, 20, 50, 200)
PAIRS = 20  # sets of the toy beside a set of the toy
REACH = 2.9  # of a panel
COMPARED = {
    "ancestral, posterior": ("ancestral", RED),
    "reverse sde": ("reverse SDE", AMBER),
    "ddim": ("DDIM", BLUE),
    "flow, heun": ("flow by Heun", GREEN),
    "edm": ("EDM", VIOLET),
    "dpm-solver++ 2m": ("DPM-Solver++ 2M", INK),
}


def trajectories() -> Path:
    """Draw data becoming noise, three ways back, and densities through time with their paths."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.2, 11.4), facecolor=PAPER, layout="constrained")
    parts: Any = figure.subfigures(3, 1, height_ratios=(1.0, 1.55, 1.3))
    top, middle, bottom = parts
    _forward(top.subplots(1, len(SHOTS)))
    _back(middle.subplots(1, 3))
    _strips(bottom.subplots(1, 2, sharey=True))
    return _save(figure, "trajectories.png")


def _forward(panels: Any) -> None:
    """Draw one set of points at rising times, each in the colour of where it began."""
    spiral, noise = toy("spiral"), Noise(0).at("forward")
    data = spiral.sample(4000, noise.at("data"))
    colour = np.linalg.norm(data, axis=1)
    z = noise.at("noise").normal(data.shape)
    for ax, t in zip(panels, SHOTS, strict=True):
        a, b, _, _ = PATH.levels(t)
        ax.scatter(*(a * data + b * z).T, s=2.5, c=colour, cmap="viridis", linewidths=0)
        _plain(ax, 3.4, f"t = {t:g}" + {0.0: ", data", 1.0: ", noise"}.get(t, ""))


def _back(panels: Any) -> None:
    """Draw the walks of three samplers from the same noise to the toy of eight modes."""
    predict, levels = exact(WORLD), stride(LEVELS, 250)

    def of_levels(x: Array, t: int) -> Array:
        return predict(x, t / LEVELS)

    def by_ancestral(seen: Any, x: Array, place: Noise) -> Array:
        return sample_ancestral(seen, x, SCHEDULE, place, times=levels)

    def by_flow(seen: Any, x: Array, place: Noise) -> Array:
        return sample_probability_flow(seen, x, PATH, times=_crowded(60), rule="heun")

    def by_ddim(seen: Any, x: Array, place: Noise) -> Array:
        return sample_ddim(seen, x, SCHEDULE, place, times=stride(LEVELS, 10))

    ways: tuple[tuple[str, Any, Any, str, int], ...] = (
        ("ancestral, 250 steps, six walks", of_levels, by_ancestral, RED, 6),
        ("probability flow, Heun, 60 steps", predict, by_flow, GREEN, 26),
        ("DDIM, 10 steps: the flow, coarsely", of_levels, by_ddim, BLUE, 26),
    )
    start = Noise(13).at("start").normal((26, 2))
    ghost = WORLD.sample(3000, Noise(4).at("ghost"))
    for ax, (title, asked, walk, colour, count) in zip(panels, ways, strict=True):
        x, (seen, visited) = start[:count], trace(asked)
        end = walk(seen, x, Noise(4).at("walk"))
        paths = np.stack([at for _, at in visited] + [end])  # (steps, count, 2)
        ax.scatter(*ghost.T, s=2, color="#d4d9de", linewidths=0)
        for i in range(paths.shape[1]):
            ax.plot(*paths[:, i].T, lw=0.8, color=colour, alpha=0.65)
        ax.scatter(*x.T, s=14, facecolor=PAPER, edgecolor=INK, linewidths=0.8, zorder=3)
        ax.scatter(*end.T, s=16, color=colour, edgecolor=PAPER, linewidths=0.5, zorder=3)
        _plain(ax, max(3.2, 1.05 * float(np.abs(x).max())), title)


def _strips(panels: Any) -> None:
    """Draw a density on the line through time, with paths of the SDE and of the flow."""
    world, times = toy("bimodal"), _crowded(400)
    grid, shown = np.linspace(-3.6, 3.6, 361), np.linspace(0.0, 1.0, 361)
    density = np.stack(
        [np.exp(world.log_density(grid[:, None], *_ab(max(t, 1e-3)))) for t in shown], axis=1
    )
    predict, x = exact(world), np.linspace(-2.0, 2.0, 9)[:, None]
    walks: tuple[tuple[str, Callable[[Any], Array], str], ...] = (
        (
            "reverse SDE: other draws, other ends",
            lambda seen: sample_reverse_sde(seen, x, PATH, Noise(3).at("sde"), times=times),
            RED,
        ),
        (
            "probability flow: paths that never cross",
            lambda seen: sample_probability_flow(seen, x, PATH, times=times, rule="euler"),
            GREEN,
        ),
    )
    for ax, (title, walk, colour) in zip(panels, walks, strict=True):
        seen, visited = trace(predict)
        end = walk(seen)
        paths = np.stack([at[:, 0] for _, at in visited] + [end[:, 0]])
        ax.imshow(
            density**0.6,
            extent=(0, 1, -3.6, 3.6),
            origin="lower",
            aspect="auto",
            cmap="Greys",
            vmax=1.35,
        )
        ax.plot(times, paths, lw=1.1, color=colour)
        ax.set(xlim=(1, 0), ylim=(-3.2, 3.2))
        ax.set_title(title, loc="left", fontsize=11, color=INK)
        ax.set_xlabel("t, from noise (1) to data (0)", fontsize=10, color=INK)
        ax.tick_params(labelsize=9, colors=INK)
    panels[0].set_ylabel("x, two modes of weights 1/3 and 2/3", fontsize=10, color=INK)


def samplers() -> Path:
    """Draw one network's samples after so many calls, and how far they are from the toy."""
    from matplotlib.figure import Figure

    predict = walker()[0]
    figure = Figure(figsize=(13.2, 9.0), facecolor=PAPER, layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1.55, 1.0))
    left, right = parts
    cells = left.subplots(len(COMPARED), len(COLUMNS))
    real = WORLD.sample(10_000, Noise(6).at("real"))
    others = (WORLD.sample(10_000, Noise(6).at("other", i)) for i in range(PAIRS))
    floor = [sliced_wasserstein(other, real, Noise(7)) for other in others]
    curve = right.subplots()
    for line, (name, (title, colour)) in zip(cells, COMPARED.items(), strict=True):
        made = {calls: after(SAMPLERS[name], calls, predict) for calls in CALLS}
        far = [(n, sliced_wasserstein(x, real, Noise(7))) for n, x in made.values()]
        curve.loglog(*zip(*far, strict=True), "o-", ms=4, lw=1.6, color=colour, label=title)
        print(title, [(n, round(value, 4)) for n, value in far], flush=True)
        for ax, calls in zip(line, COLUMNS, strict=True):
            count, x = made[calls]
            ax.scatter(*x[:1500].T, s=1.6, color=colour, linewidths=0)
            _plain(ax, REACH, "")
            outside = float(np.mean(np.max(np.abs(x), axis=1) > REACH))
            notes = [f"{count} calls"] if count != calls else []
            notes += [f"{outside:.0%} outside"] if outside > 0.02 else []
            ax.text(0, -REACH, ", ".join(notes), fontsize=8, color=GREY, ha="center", va="top")
        line[0].set_ylabel(title, fontsize=10, color=INK)
    for ax, calls in zip(cells[0], COLUMNS, strict=True):
        ax.set_title(f"{calls} calls", fontsize=10, color=INK)
    curve.axhspan(min(floor), max(floor), color=GREY, alpha=0.15, lw=0)
    words = f"{PAIRS} other sets of the toy itself"
    curve.text(CALLS[0], min(floor) * 1.1, words, fontsize=9, color=GREY, ha="left", va="bottom")
    curve.set_xlabel("network calls", fontsize=10, color=INK)
    curve.set_title(
        "squared sliced Wasserstein distance, 10,000 samples", loc="left", fontsize=11, color=INK
    )
    curve.set_xticks(CALLS, [str(n) for n in CALLS])
    curve.set_xticks([], minor=True)
    curve.tick_params(labelsize=9, colors=INK)
    curve.legend(frameon=False, fontsize=9, loc="upper right")
    for side in ("top", "right"):
        curve.spines[side].set_visible(False)
    return _save(figure, "samplers.png")


def after(row: Row, calls: int, predict: Predict) -> tuple[int, Array]:
    """Return the calls that were made, at most so many, and 10,000 samples."""
    steps = max(n for n in range(1, calls + 1) if row.calls(n) <= calls)
    x = row.walk(Start(predict, 10_000, Noise(6).at("walk"), steps))
    return row.calls(steps), x.astype(np.float64)


def exact(world: World) -> Predict:
    """Return the best prediction of the noise on the path."""

    def predict(x: Array, t: float) -> Array:
        return world.noise_mean(x, *_ab(t))

    return predict


def _ab(t: float) -> tuple[float, float]:
    a, b, _, _ = PATH.levels(t)
    return float(a), float(b)


def _crowded(steps: int) -> Sequence[float]:
    """Return times from 1 to near 0, Karras's."""
    ends = [b / a for a, b in (_ab(1.0), _ab(1e-3))]
    return times_on_path(PATH, karras(steps + 1, *ends)[:-1])


def _plain(ax: Any, reach: float, title: str) -> None:
    """Leave a panel without ticks or frame."""
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    ax.set_title(title, fontsize=11, color=INK)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _save(figure: Any, name: str) -> Path:
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / name, dpi=150)
    return FOLDER / name


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ["trajectories", "samplers"]:
        print({"trajectories": trajectories, "samplers": samplers}[wanted]())
