"""The picture of few steps: python -m benchmarks.pictures_few_steps.

Digits by latent diffusion, by a consistency model and by distillation, and what each costs. The
three systems are trained by their recipes first, some minutes each on one core.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.accept.measuring import COUNT, figures, trained
from benchmarks.pictures import FOLDER, INK, PAPER, tiled
from refgen.data import load
from refgen.noise import Noise
from refgen.systems.system import draw
from refgen.typing import Array

SHOWN, ACROSS = 60, 10  # digits of a panel, and in a row
PLACE = Noise(0).at("judge")  # as in the measurements


class Panel(NamedTuple):
    """What a panel shows."""

    title: str
    calls: str
    samples: Array  # (COUNT, H, W, 1)


@cache
def learned(name: str) -> tuple[Any, Any]:
    """Train by the recipe for digits; return the system and its averaged parameters."""
    system, state = trained(name, load("digits").split()[0], 0)
    return system, state.average


def sampled(name: str, sampler: str = "", steps: int = 0) -> Array:
    """Return COUNT samples."""
    system, params = learned(name)
    return draw(system, params, COUNT, PLACE, sampler=sampler, steps=steps)


def real() -> Panel:
    """Show digits that were trained on; against held-out ones they have the best figures."""
    train_set, _ = load("digits").split()
    order = np.argsort(Noise(0).at("real").uniform(len(train_set)))[:COUNT]
    return Panel("real digits", "", train_set.data[order])


def latent_diffusion() -> Panel:
    """Show codes drawn by all the calls of the recipe, and decoded."""
    system, _ = learned("latent-diffusion")
    calls = system.sample_steps or system.T
    return Panel("latent diffusion", f"{calls} calls", sampled("latent-diffusion"))


def consistency(steps: int) -> Panel:
    """Show a consistency model in so many steps."""
    calls = "1 call" if steps == 1 else f"{steps} calls"
    return Panel("consistency", calls, sampled("consistency", steps=steps))


def distilled() -> Panel:
    """Show the last student of progressive distillation."""
    system, _ = learned("progressive-distillation")
    return Panel("distilled", f"{system.last} calls", sampled("progressive-distillation"))


def rushed() -> Panel:
    """Show the teacher of that student, made to take as few steps."""
    system, _ = learned("progressive-distillation")
    samples = sampled("progressive-distillation", "teacher", system.last)
    return Panel("DDIM before distillation", f"{system.last} calls", samples)


PANELS: tuple[Callable[[], Panel], ...] = (
    real,
    latent_diffusion,
    rushed,
    lambda: consistency(1),
    lambda: consistency(2),
    distilled,
)


def few_steps(panels: tuple[Callable[[], Panel], ...] = PANELS) -> Path:
    """Draw every panel: digits, calls of the network, and the figures of 500 samples."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.4, 5.9), facecolor=PAPER, layout="constrained")
    grid: Any = figure.subplots(2, 3)
    for axes, make in zip(np.ravel(grid), panels, strict=False):
        panel = make()
        found = figures(panel.samples, load("digits"))
        images = np.clip(panel.samples[:SHOWN], -1, 1)
        axes.imshow(tiled(images, ACROSS), cmap="gray_r", vmin=-1, vmax=1)
        title = f"{panel.title}: {panel.calls}" if panel.calls else panel.title
        axes.set_title(title, loc="left", fontsize=11, color=INK)
        axes.text(
            0,
            -0.03,
            f"Fréchet {found['frechet']:.2f}   precision {found['precision']:.2f}   "
            f"recall {found['recall']:.2f}",
            transform=axes.transAxes,
            va="top",
            fontsize=9,
            color=INK,
        )
        axes.set_axis_off()
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / "few_steps.png", dpi=160)
    return FOLDER / "few_steps.png"


if __name__ == "__main__":
    print(few_steps())
