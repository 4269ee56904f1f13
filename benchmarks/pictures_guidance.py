"""The picture of guidance: python -m benchmarks.pictures_guidance.

What a weight does to digits and to a labelled mixture, where the density that guidance aims at is
known. Both networks are trained by their recipes first, a few minutes on one core.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accept.guidance import (
    CLASSES,
    LEVELS,
    WORLD,
    exact_posterior,
    mixture,
    of_each_label,
    posterior,
)
from benchmarks.accept.measuring import COUNT, figures, trained
from benchmarks.pictures import FOLDER, INK, PAPER, tiled
from refgen.data import load
from refgen.noise import Noise
from refgen.systems.system import Request, draw
from refgen.training.judge import judge_of
from refgen.typing import Array

WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0)  # of the digits, a row each
TOY_WEIGHTS = (0.0, 1.0, 2.0, 4.0)
DEEP, DRAWN = 2, 1500  # digits of a label in a row, points of a panel
DATA, SAMPLES, EXACT = "#d4d9de", "#2b5f9e", "#c8452d"
SHARES = (0.5, 0.9)  # of the exact density within a line
LABEL, SPAN = 0, 2.9


def guidance() -> Path:
    """Draw a strip of digits for each weight, and points beside lines of the tilted density."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.6, 7.2), facecolor=PAPER, layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.0, 1.16))
    left, right = halves
    _digits(left.subplots(len(WEIGHTS), 1))
    _points(right.subplots(2, 2).ravel())
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / "guidance.png", dpi=160)
    return FOLDER / "guidance.png"


def _digits(rows: Any) -> None:
    """Draw digits of every label, and write what the judge says of 500 under them."""
    dataset = load("digits")
    system, state = trained("cfg", dataset.split()[0], 0)
    judge, each = judge_of(dataset), COUNT // system.classes
    for ax, gamma in zip(rows, WEIGHTS, strict=True):
        x, asked = of_each_label(system, state.average, each, Noise(0).at("picture"), gamma)
        recognised = float(np.mean(judge.labels(x) == asked))
        recall = figures(x, dataset)["recall"]
        by_label = x.reshape(system.classes, each, *x.shape[1:])[:, :DEEP]
        shown = np.swapaxes(by_label, 0, 1).reshape(-1, *x.shape[1:])
        ax.imshow(tiled(shown, system.classes), cmap="gray_r", vmin=-1, vmax=1)
        ax.set(xticks=[], yticks=[])
        for side in ax.spines.values():
            side.set_visible(False)
        ax.set_ylabel(f"γ = {gamma:g}", fontsize=10.5, color=INK)
        said = f"the label asked for recognised: {100 * recognised:.1f} %    recall {recall:.2f}"
        ax.set_xlabel(said, fontsize=9.5, color=INK)
    rows[0].set_title(
        "digits 0 to 9 asked for, by weight (classifier-free)", loc="left", fontsize=11, color=INK
    )


def _points(panels: Any) -> None:
    """Draw the points asked for one label, over the data and lines of the tilted density."""
    data = mixture()
    system, state = trained("cfg", data, 0, classes=len(CLASSES))
    axis = np.linspace(-SPAN, SPAN, 241)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    for ax, gamma in zip(panels, TOY_WEIGHTS, strict=True):
        asked = Request(label=LABEL, guidance=gamma)
        x = draw(
            system, state.average, DRAWN, Noise(0).at("points"), steps=LEVELS, request=asked
        ).astype(np.float64)
        ax.scatter(*data.data[:3000].T, s=2, color=DATA, linewidths=0)
        ax.scatter(*x.T, s=3, color=SAMPLES, linewidths=0)
        tilted = np.exp(WORLD.log_density(grid)) * posterior(grid, LABEL) ** gamma
        levels = sorted(_level(tilted, share) for share in SHARES)
        side = len(axis)
        ax.contour(
            axis, axis, tilted.reshape(side, side), levels=levels, colors=EXACT, linewidths=1.3
        )
        ax.set(xlim=(-SPAN, SPAN), ylim=(-SPAN, SPAN), aspect="equal", xticks=[], yticks=[])
        ax.set_title(f"γ = {gamma:g}", loc="left", fontsize=10.5, color=INK)
        drawn, exact = posterior(x, LABEL).mean(), exact_posterior(LABEL, gamma)
        ax.set_xlabel(
            f"mean p(label | x): samples {drawn:.3f}, density {exact:.3f}", fontsize=9.5, color=INK
        )
    figure = panels[0].figure
    figure.suptitle(
        "a mixture with two labels (grey), one of them asked for (blue);\n"
        "half and nine tenths of p(x) p(label | x)^γ / Z lie within the lines (red)",
        x=0.02,
        ha="left",
        fontsize=11,
        color=INK,
    )


def _level(density: Array, share: float) -> float:
    """Return the value above which a share of a density on an even grid lies."""
    falling = np.sort(density)[::-1]
    within = np.cumsum(falling)
    return float(falling[np.searchsorted(within, share * within[-1])])


if __name__ == "__main__":
    print(guidance())
