"""The picture of energies: python -m benchmarks.pictures_energy.

A density that is known, the energy that was learned of it with its score, Langevin's walk on it,
and digits from an energy of noised digits. Both are trained by their recipes first, a few minutes
on one core.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accept.energy import gap, taught
from benchmarks.accept.measuring import trained
from benchmarks.pictures import FOLDER, INK, PAPER, tiled
from refgen.data import load
from refgen.data.toys import toy
from refgen.noise import Noise
from refgen.systems.ebm import EBM
from refgen.systems.system import draw
from refgen.typing import Array, Params

SIDE, FINE, ARROWS = 2.9, 161, 15  # of the plane that is shown, its points and arrows an axis
WALKERS, TRACES = 600, 5
WALKED, TRACE = "#c8452d", "#22303c"


def energy() -> Path:
    """Draw density, energy and score, the walk, and digits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.2, 3.75), facecolor=PAPER, layout="constrained")
    first, second, third, last = figure.subplots(1, 4)
    world = toy("moons")
    system, params = taught("moons", 0)
    axis = np.linspace(-SIDE, SIDE, FINE)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    exact = np.exp(world.log_density(grid)).reshape(FINE, FINE)
    learned = system.log_density(params, grid.astype(np.float32)).reshape(FINE, FINE)
    for ax, p, cmap in ((first, exact, "Blues"), (third, np.exp(learned), "Blues")):
        ax.contourf(axis, axis, p, levels=12, cmap=cmap)
    _title(first, "the density of the data", "known in closed form")
    deep = np.maximum(learned, -14.0)
    second.contourf(axis, axis, -deep, levels=20, cmap="YlGnBu_r")
    _arrows(second, system, params)
    off = gap(system, params, world)
    _title(second, "the energy −log p, and its score", f"{off:.3f} nats above the entropy")
    _walk(third, system, params)
    _title(third, "Langevin on the learned density", f"{system.rungs * system.inner} steps")
    digits, state = trained("ebm", load("digits").split()[0], 0)
    images = draw(digits, state.average, 64, Noise(1).at("picture"))
    last.imshow(tiled(images, 8), cmap="gray_r", vmin=-1, vmax=1)
    _title(last, "digits from an energy", "annealed Langevin; the noise of its last level is left")
    for ax in (first, second, third):
        ax.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), aspect="equal")
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / "energy.png", dpi=160)
    return FOLDER / "energy.png"


def _arrows(ax: Any, system: EBM, params: Params) -> None:
    """Draw the score: where a step climbs, longer where it is steeper, but not in proportion."""
    axis = np.linspace(-SIDE, SIDE, ARROWS + 2)[1:-1]
    at = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype(np.float32)
    model: Any = params
    score = system.density.score(model["model"], at)[0]
    length = np.sqrt(np.sum(score * score, axis=1, keepdims=True))
    short: Array = score / np.maximum(length, 1e-6) * np.minimum(length / 8, 1) ** 0.5
    ax.quiver(*at.T, *short.T, color=INK, width=0.004, scale=26, headwidth=4)


def _walk(ax: Any, system: EBM, params: Params) -> None:
    """Draw where walkers end, and the whole way of a few."""
    place = Noise(0).at("walk")
    steps = system.rungs * system.inner
    ends = draw(system, params, WALKERS, place, sampler="langevin")
    ax.plot(*ends.T, ".", ms=3.5, mew=0, color=WALKED)
    ways = [
        draw(system, params, TRACES, place, sampler="langevin", steps=k)
        for k in range(1, steps + 1, 2)
    ]
    for way in np.stack(ways, axis=1):
        ax.plot(*way.T, lw=0.7, color=TRACE, alpha=0.8)
        ax.plot(*way[0], "o", ms=4, mew=0.8, mfc=PAPER, mec=TRACE)


def _title(ax: Any, title: str, note: str) -> None:
    ax.set_title(title, loc="left", fontsize=10.5, color=INK)
    ax.set_xlabel(note, fontsize=9, color=INK)
    ax.set(xticks=[], yticks=[])


if __name__ == "__main__":
    print(energy())
