"""The picture of imitation: python -m benchmarks.pictures_imitation.

What was shown, what a Gaussian and a diffusion policy make of it, and what errors cost: lines from
probabilities carried from state to state, dots from clones that were trained and walked. The
policies are trained by their recipes first, a minute or two on one core.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accept.imitation import LENGTHS, SLIP, rope
from benchmarks.accept.measuring import trained
from benchmarks.pictures import FOLDER, INK, PAPER
from refgen.cli.rollouts import draw_paths, draw_world
from refgen.data import load
from refgen.data.demonstrations import demonstrate
from refgen.data.navigation import Rollouts, world
from refgen.exact.tightrope import OFF, ON, Tightrope
from refgen.noise import Noise
from refgen.systems.policy import roll

EPISODES = 120
SHOWN, GAUSSIAN, DIFFUSION = "#5b7083", "#c8452d", "#2b5f9e"
RECOVERIES = (0.0, 0.01, 0.1, 1 - SLIP)
MANY = 10_000_000  # demonstrations on the rope: so many that a clone's error is the slips' rate
SHADES = ("#7a1f12", "#c8452d", "#e08e5a", "#5b7083")


def imitation() -> Path:
    """Draw demonstrations, the paths of two policies, and the expected number of mistakes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.2, 3.7), facecolor=PAPER, layout="constrained")
    first, second, third, last = figure.subplots(1, 4)
    place, data = world("navigation"), load("navigation")
    walks: list[tuple[Any, str, str, Rollouts]] = [
        (first, "demonstrations", SHOWN, demonstrate(place, EPISODES, Noise(0).at("shown")))
    ]
    for ax, name, title, colour in (
        (second, "bc", "Gaussian behaviour cloning", GAUSSIAN),
        (third, "diffusion-policy", "diffusion policy", DIFFUSION),
    ):
        system, state = trained(name, data, 0)
        paths = roll(system, state.average, EPISODES, Noise(0).at("picture"))
        walks.append((ax, title, colour, paths))
    for ax, title, colour, paths in walks:
        draw_world(ax, place)
        met = draw_paths(ax, place, paths.paths, colour)
        ax.set_title(title, loc="left", fontsize=10.5, color=INK)
        ax.set_xlabel(
            f"{100 * paths.success:.0f} % arrive, {met} of {EPISODES} touch", fontsize=9, color=INK
        )
        ax.set(xticks=[], yticks=[])
    _costs(last)
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / "imitation.png", dpi=160)
    return FOLDER / "imitation.png"


def _costs(ax: Any) -> None:
    """Draw the expected mistakes in T steps, by probabilities carried from state to state."""
    steps = np.unique(np.round(np.logspace(0, 4, 60)).astype(int))
    for recovery, colour in zip(RECOVERIES, SHADES, strict=True):
        line = Tightrope(SLIP, recovery)
        made = np.cumsum(line.world.mistakes(line.policy, line.expert, int(steps[-1])))
        independent = recovery == RECOVERIES[-1]
        label = "errors independent" if independent else f"back with probability {recovery:g}"
        ax.loglog(steps, made[steps - 1], lw=1.8, color=colour, label=label)
    place = Noise(0).at("rope")
    never = rope(place.at("never"), back=False, shown=(ON,), labels=MANY)
    shown = rope(place.at("shown"), back=True, shown=(ON, OFF), labels=MANY)
    for clone, colour in ((never, SHADES[0]), (shown, SHADES[-1])):
        ax.loglog(LENGTHS, clone.costs, "o", ms=5, mew=0, color=colour)
    ax.plot([], [], "o", ms=5, mew=0, color=INK, label="clones, trained and walked")
    ax.loglog(steps, 0.5 * SLIP * steps**2.0, lw=0.8, ls=":", color=INK)
    ax.text(13, 0.25, "½ ε T²", fontsize=9, color=INK, ha="right")
    ax.loglog(steps, SLIP * steps, lw=0.8, ls=":", color=INK)
    ax.text(900, 0.1, "ε T", fontsize=9, color=INK)
    ax.set(xlim=(1, 1e4), ylim=(2e-4, 3e5))
    ax.set_title(
        f"expected mistakes in T steps, ε = {SLIP:g}", loc="left", fontsize=10.5, color=INK
    )
    ax.set_xlabel("T", fontsize=9, color=INK)
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


if __name__ == "__main__":
    print(imitation())
