"""What is seen and said of a policy: the paths it walks, how often it arrives, how far it drifts.

Shapes     paths : (N, T + 1, 2)    rows : (M, 20), see refgen.data.demonstrations
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from refgen.cli import pictures
from refgen.cli.pictures import DATA, INK, MODEL, _figure, _save_figure

if TYPE_CHECKING:
    from refgen.data import Dataset
    from refgen.data.navigation import Navigation
    from refgen.noise import Noise
    from refgen.systems import System
    from refgen.systems.policy import Acting
    from refgen.typing import Array

EPISODES = 1000
SHOWN = 200  # paths in a picture
DARK = "#1d1f22"  # of paths that touch the obstacle


def judge(system: "Acting", params: Any, dataset: "Dataset", noise: "Noise") -> list[str]:
    """Return lines on 1,000 episodes of a policy in its world, and on its errors there."""
    from refgen import tree
    from refgen.data.navigation import world
    from refgen.systems.policy import drift, roll

    here = tree.map(system.ops.put, params)
    _, held_out = dataset.split()
    place, walked = world(system.world), roll(system, here, EPISODES, noise.at("episodes"))
    lines = [f"{place.name}: {100 * walked.success:.1f} % of {EPISODES:,} episodes reach the goal"]
    if place.radius:
        lines[0] += f", {100 * float(walked.touched.mean()):.1f} % touch the obstacle"
    if place.radius and walked.reached.any():
        left = 100 * float((walked.ways[walked.reached] > 0).mean())
        lines.append(
            f"of those that arrive {left:.1f} % go left and {100 - left:.1f} % right; the expert "
            f"goes left in {100 * place.share:.0f} %"
        )
    shown, own = drift(system, here, held_out.data, noise.at("drift"))
    lines.append(
        f"its action is {shown:.3f} from the expert's mean in held-out states that were shown, "
        f"{own:.3f} in those it comes to (root mean square)"
    )
    return lines


def show(system: "System", samples: "Array", data: "Array", path: Path, title: str = "") -> None:
    """Write samples as what they are: the paths of a policy, or points beside data, or images.

    The title is for images.
    """
    from refgen.systems.policy import is_acting

    if is_acting(system):
        picture(samples, data, cast("Acting", system).world, path)
    else:
        pictures.picture(samples, data, path, title)


def picture(paths: "Array", rows: "Array", name: str, path: Path) -> None:
    """Write states that were shown beside paths that were walked, in the world of that name.

    Where the demonstrations are gone, rows may be paths: of them the places are shown.
    """
    from refgen.data.navigation import world

    place, states = world(name), rows.reshape(-1, rows.shape[-1])[: 20 * SHOWN, :2]
    figure, (left, right) = _figure(1, 2, (8.2, 4.6))
    left.plot(*states.T, ".", ms=2.4, mew=0, alpha=0.55, color=DATA)
    left.set_title("states that were shown", loc="left", fontsize=10.5, color=INK)
    walked = paths[:SHOWN]
    met = draw_paths(right, place, walked, MODEL)
    right.set_title("paths that were walked", loc="left", fontsize=10.5, color=INK)
    note = f"{arrived(place, walked)} of {len(walked)} arrive"
    note += f", {met} touch" if place.radius else ""
    right.set_title(note, loc="right", fontsize=8.5, color=INK)
    for ax in (left, right):
        draw_world(ax, place)
        ax.plot(*place.start, "o", ms=5, color=INK, ls="", label="start")
    if met:
        right.plot([], [], "x-", ms=4, lw=0.8, color=DARK, label="touches the obstacle")
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    _save_figure(figure, path)


def arrived(place: "Navigation", paths: "Array") -> int:
    """Return how many paths reach the goal.

    Which goal of a ring was whose the paths do not say: there it is those that stop at the ring
    before their time is up, as an episode does when it has reached its own.
    """
    import numpy as np

    from refgen.data.navigation import NEAR

    last = paths[:, -1]
    if place.ring:
        at = np.abs(np.hypot(*last.T) - place.ring) <= NEAR
        return int(np.sum(at & np.all(last == paths[:, -2], axis=1)))
    at = np.hypot(*(last - np.array(place.goal)).T) <= NEAR
    return int(np.sum(at))


def draw_paths(ax: Any, place: "Navigation", paths: "Array", colour: str) -> int:
    """Draw paths, dark where they touch the obstacle. Return how many do."""
    import numpy as np

    steps = zip(np.moveaxis(paths[:, :-1], 1, 0), np.moveaxis(paths[:, 1:], 1, 0), strict=True)
    met = np.any([place.touches(here, there) for here, there in steps], axis=0)
    for one, touches in zip(paths, met, strict=True):
        ax.plot(*one.T, lw=0.8, alpha=0.4, color=DARK if touches else colour)
    ax.plot(*paths[met, -1].T, "x", ms=4, mew=0.9, color=DARK)
    return int(np.sum(met))


def draw_world(ax: Any, place: "Navigation") -> None:
    """Draw the obstacle and the goal, a disc or all of a ring, on equal axes."""
    from matplotlib.patches import Circle

    from refgen.data.navigation import NEAR

    if place.radius:
        obstacle = Circle((0, 0), place.radius, facecolor="#d9dde2", edgecolor=INK, lw=0.8)
        obstacle.set_label("obstacle")
        ax.add_patch(obstacle)
    goal = Circle((0, 0), place.ring) if place.ring else Circle(place.goal, NEAR)
    goal.set(facecolor="none", edgecolor=INK, lw=0.9, linestyle="--")
    goal.set_label("goals, anywhere on the ring" if place.ring else "goal")
    ax.add_patch(goal)
    reach = max(place.ring, abs(place.goal[0])) + 0.3
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
