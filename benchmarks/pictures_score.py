"""The picture of annealing: python -m benchmarks.pictures_score.

The figure of the lecture on score models: two modes of weights 0.2 and 0.8, what plain Langevin
dynamics makes of them, and what annealed Langevin dynamics does in as many calls of one trained
network, level by level. The network is trained first, in less than a minute on one core.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accept.measuring import trained
from benchmarks.accept.score import PAIR, WIDE, fresh
from benchmarks.pictures import FOLDER, INK, PAPER
from refgen.noise import Noise
from refgen.samplers.walk import trace
from refgen.typing import Array

COUNT = 2000
DATA, PLAIN, ANNEALED, FAINT = "#5b7083", "#c8452d", "#2b5f9e", "#d4d9de"
LEVELS = (1, 3, 6, 8)  # after which the walk is shown
NEAR = 11.0


def ncsn() -> Path:
    """Draw the density, both walks' ends, the share of a mode on the way, and four levels."""
    from matplotlib.figure import Figure

    system, state = trained("ncsn", fresh("pair", PAIR), 0, **WIDE)
    figure = Figure(figsize=(13.2, 6.9), facecolor=PAPER, layout="constrained")
    grid: Any = figure.subplots(2, 4)
    score = system.score(state.average)
    start = system.sigma_last * Noise(0).at("start").normal((COUNT, 2), dtype=np.float32)
    walks = {}
    for name, walk in (("annealed", system.walk), ("plain", system.plainly)):
        following, visited = trace(score)
        end = walk(following, start, Noise(0).at("walk"), system.inner)
        walks[name] = [x for _, x in visited] + [end]
    _density(grid[0, 0])
    for ax, name, colour in ((grid[0, 1], "plain", PLAIN), (grid[0, 2], "annealed", ANNEALED)):
        end = walks[name][-1]
        _points(ax, end, colour, NEAR)
        title = f"{name}: {100 * _share(end):.0f} % in the lesser mode"
        ax.set_title(title, loc="left", fontsize=10.5, color=INK)
    _shares(grid[0, 3], walks, system.inner)
    for ax, level in zip(grid[1], LEVELS, strict=True):
        sigma = system.sigmas[level - 1]
        x = walks["annealed"][level * system.inner]
        _points(ax, x, ANNEALED, max(NEAR, 3 * sigma + 2))
        title = f"annealed, after level {level} of {system.L}: σ = {sigma:.2g}"
        ax.set_title(title, loc="left", fontsize=10.5, color=INK)
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / "ncsn.png", dpi=160)
    return FOLDER / "ncsn.png"


def _density(ax: Any) -> None:
    """Draw the mixture: lines of equal density, and the weights."""
    side = np.linspace(-NEAR, NEAR, 161)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    density = np.exp(PAIR.log_density(points)).reshape(161, 161)
    shades = np.max(density) * np.array([0.004, 0.02, 0.08, 0.2, 0.45, 0.8, 1.0])
    ax.contourf(side, side, density, shades, cmap="Blues")
    for weight, mean in zip(PAIR.weights, PAIR.means, strict=True):
        ax.text(
            mean[0], mean[1] - 4.3, f"{100 * weight:.0f} %", ha="center", color=INK, fontsize=10
        )
    ax.set_title("the data's density", loc="left", fontsize=10.5, color=INK)
    _frame(ax, NEAR)


def _points(ax: Any, x: Array, colour: str, limit: float) -> None:
    """Draw points, and the modes' places behind them."""
    for mean in PAIR.means:
        ax.add_patch(_circle(mean))
    ax.scatter(*x.T, s=3, color=colour, linewidths=0, alpha=0.55)
    _frame(ax, limit)


def _shares(ax: Any, walks: dict[str, list[Array]], inner: int) -> None:
    """Draw the share of points on the lesser mode's side, call by call."""
    for name, colour in (("plain", PLAIN), ("annealed", ANNEALED)):
        share = [_share(x) for x in walks[name]]
        ax.plot(np.arange(len(share)), share, lw=1.8, color=colour, label=name)
    ax.axhline(PAIR.weights[0], lw=0.9, ls=":", color=INK)
    ax.text(12, PAIR.weights[0] - 0.045, "its weight", fontsize=9, color=INK)
    ax.set(ylim=(0, 0.7), xlim=(0, len(walks["annealed"])))
    ax.set_title("share on the lesser mode's side", loc="left", fontsize=10.5, color=INK)
    ax.set_xlabel("network calls", fontsize=9, color=INK)
    ax.legend(frameon=False, fontsize=9, loc="upper right")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _share(x: Array) -> float:
    return float(np.mean(x.sum(axis=1) < 0))


def _circle(mean: Array) -> Any:
    from matplotlib.patches import Circle

    return Circle((float(mean[0]), float(mean[1])), 2.0, facecolor=FAINT, edgecolor="none")


def _frame(ax: Any, limit: float) -> None:
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
    if limit > NEAR:
        ax.set_xlabel(f"from −{limit:.0f} to {limit:.0f}", fontsize=9, color=INK)


if __name__ == "__main__":
    print(ncsn())
