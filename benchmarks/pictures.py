"""The pictures of the README: python -m benchmarks.pictures [layers] [samples].

layers is drawn from the import graph in a second; samples trains the four systems on digits and
on toys by their recipes first, which takes about ten minutes on two cores.
"""

import ast
import sys
from pathlib import Path
from typing import Any

import numpy as np

import refgen
from benchmarks.accept.measuring import trained
from refgen.data import load
from refgen.noise import Noise
from refgen.typing import Array

FOLDER = Path(__file__).parent / "pictures"
BANDS = (
    ("foundations", ("typing", "tree", "noise", "check")),
    ("mathematics", ("ops", "layers", "models", "processes", "exact", "objectives", "samplers")),
    ("judgement", ("data", "metrics")),
    ("what is used", ("systems", "training", "claims", "atlas", "cli")),
)
INK, PAPER = "#22303c", "#ffffff"
COLOURS = ("#dfe7ef", "#d5e8d4", "#fdeacb", "#f4d9d4")
SHOWN = (
    ("vae", "toy:moons"),
    ("gan", "toy:ring"),
    ("ddpm", "toy:spiral"),
    ("realnvp", "toy:moons"),
)


def layers() -> Path:
    """Draw the layers, a box each, as high as its imports reach down."""
    from matplotlib.figure import Figure

    here = Path(refgen.__file__).parent
    figure = Figure(figsize=(9.6, 4.0), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    x, places = 0.0, {}
    for (title, names), colour in zip(BANDS, COLOURS, strict=True):
        there = [n for n in names if (here / n).is_dir() or (here / f"{n}.py").exists()]
        width = len(there)
        box = {"boxstyle": "round,pad=0,rounding_size=0.18", "facecolor": colour}
        axes.add_patch(_box(x + 0.06, 0.0, width - 0.12, 1.9, box))
        axes.text(x + width / 2, 2.2, title, ha="center", va="center", color=INK, fontsize=10)
        for name in there:
            axes.text(x + 0.5, 0.95, name, ha="center", va="center", color=INK, rotation=90)
            places[name] = x + 0.5
            x += 1
    for name, ends in sorted(_graph(here).items()):
        for end in ends & places.keys():
            if name in places and end != "typing":  # all import typing
                _arc(axes, places[name], places[end])
    axes.text(
        x / 2,
        -5.2,
        "an arc: the right end imports the left (typing, which all import, is left out)",
        ha="center",
        color=INK,
    )
    axes.set_xlim(-0.2, x + 0.2)
    axes.set_ylim(-5.6, 2.6)
    return _save(figure, "layers.png")


def samples() -> Path:
    """Train every system on digits and on a toy, and draw what it draws."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.2), facecolor=PAPER, layout="constrained")
    grid: Any = figure.subplots(2, len(SHOWN))
    train_set, _ = load("digits").split()
    for column, (name, spec) in enumerate(SHOWN):
        settings: dict[str, Any] = {"levels": 17} if name == "realnvp" else {}
        system, state = trained(name, train_set, 0, **settings)
        images = system.sample(state.average, 64, Noise(1).at("picture"))
        top, bottom = grid[:, column]
        top.imshow(tiled(images, 8), cmap="gray_r", vmin=-1, vmax=1)
        top.set_title(f"{name}, digits", color=INK, fontsize=10)
        data = load(spec)
        system, state = trained(name, data, 0)
        points = system.sample(state.average, 2000, Noise(2).at("picture"))
        bottom.scatter(*data.data[:4000].T, s=2, color="#d4d9de", linewidths=0)
        bottom.scatter(*points.T, s=2, color="#1f6f8b", linewidths=0)
        bottom.set_title(f"{name}, {spec}", color=INK, fontsize=10)
        bottom.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal")
        for axes in (top, bottom):
            axes.set_axis_off()
    return _save(figure, "samples.png")


def tiled(images: Array, across: int) -> Array:
    """Return (N, H, W, 1) images as one, `across` a row, a white pixel between them."""
    n, h, w, _ = images.shape
    framed = np.full((n, h + 1, w + 1), -1.0)
    framed[:, :h, :w] = images[..., 0]
    rows = framed.reshape(n // across, across, h + 1, w + 1)
    tiles: Array = rows.transpose(0, 2, 1, 3).reshape(n // across * (h + 1), across * (w + 1))
    return tiles


def _graph(here: Path) -> dict[str, set[str]]:
    """Return layer -> the layers that it imports."""
    graph: dict[str, set[str]] = {}
    for path in here.rglob("*.py"):
        name = path.relative_to(here).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("refgen"):
                found = {f"{node.module}.{alias.name}".split(".")[1] for alias in node.names}
                graph.setdefault(name, set()).update(found)
    return {name: ends - {name} for name, ends in graph.items()}


def _box(x: float, y: float, width: float, height: float, style: dict[str, str]) -> Any:
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(
        (x, y), width, height, boxstyle=style["boxstyle"], facecolor=style["facecolor"], lw=0
    )


def _arc(axes: Any, right: float, left: float) -> None:
    from matplotlib.patches import Arc

    width = right - left
    middle = (left + right) / 2
    axes.add_patch(
        Arc((middle, 0), width, width * 0.6, theta1=180, theta2=360, color=INK, lw=0.7, alpha=0.45)
    )


def _save(figure: Any, name: str) -> Path:
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / name, dpi=160)
    return FOLDER / name


if __name__ == "__main__":
    for wanted in sys.argv[1:] or ["layers", "samples"]:
        print({"layers": layers, "samples": samples}[wanted]())
