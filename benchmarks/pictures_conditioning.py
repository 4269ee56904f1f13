"""The picture of conditions: python -m benchmarks.pictures_conditioning.

Small pictures enlarged, captions drawn, and digits by way of their codes. The three systems are
trained by their recipes first, some minutes on one core.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accept.measuring import trained
from benchmarks.pictures import FOLDER, INK, PAPER
from refgen.data import load
from refgen.data.resize import bicubic, reduce
from refgen.noise import Noise
from refgen.systems.system import Request, draw
from refgen.typing import Array

ACROSS, DRAWS = 8, 8  # pictures in a row, and draws that are averaged
CAPTIONS = (
    "two dark threes",
    "two bright threes",
    "one dark seven",
    "one bright seven",
    "two dark zeros",
    "one bright four",
)
SCENES = 4  # for each caption
LINE = 1.0  # the shade between two scenes


def conditioning() -> Path:
    """Draw what the three systems make of what they are told."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.2, 4.5), facecolor=PAPER, layout="constrained")
    parts: Any = figure.subfigures(1, 3, width_ratios=(1.05, 1.0, 1.05), wspace=0.03)
    for part, draw_part in zip(parts, (_enlarged, _captioned, _coded), strict=True):
        part.set_facecolor(PAPER)
        draw_part(part)
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / "conditioning.png", dpi=160)
    return FOLDER / "conditioning.png"


def _enlarged(part: Any) -> None:
    """Show held-out digits, what is left of them, and three ways back."""
    train_set, held_out = load("digits").split()
    system, state = trained("super-resolution", train_set, 0)
    truth, place = held_out.data[:ACROSS], Noise(0).at("picture")
    small = reduce(truth, system.factor)
    rows = {
        "small, 4 × 4": small,
        "bicubic": bicubic(small, system.factor),
        "one draw": system.enlarge(state.average, small, place),
        f"mean of {DRAWS}": system.enlarge(state.average, small, place, draws=DRAWS),
        "truth, 8 × 8": truth,
    }
    _rows(part, "super-resolution of held-out digits", rows)


def _captioned(part: Any) -> None:
    """Show scenes below their captions."""
    scenes = load("scenes")
    assert scenes.labels is not None  # they are numbered by their captions
    classes = int(scenes.labels.max()) + 1
    system, state = trained("text-cross-attention", scenes.split()[0], 0, classes=classes)
    part.suptitle("text to image by cross-attention", fontsize=11, color=INK)
    for axes, caption in zip(part.subplots(3, 2).flat, CAPTIONS, strict=True):
        place, request = Noise(0).at("picture", caption), Request(caption=caption)
        found = draw(system, state.average, SCENES, place, request=request)
        shown = np.concatenate([_framed(two, 1, LINE) for two in np.split(found, 2)])
        _show(axes, shown, "gray")  # dark and bright mean what they say
        axes.set_title(f"“{caption}”", fontsize=9.5, color=INK)


def _coded(part: Any) -> None:
    """Show held-out digits, the same by way of their codes, and decoded samples of each label."""
    train_set, held_out = load("digits").split()
    system, state = trained("latent-diffusion", train_set, 0)
    own, model = state.average["autoencoder"], system.autoencoder
    images = held_out.data[:ACROSS]
    rows = {"image": images, "from its code": model.decode(own, model.encode(own, images))}
    for label in (0, 2, 5):
        place, request = Noise(0).at("picture", label), Request(label=label)
        rows[f"samples, “{label}”"] = draw(system, state.average, ACROSS, place, request=request)
    _rows(part, "latent diffusion", rows)


def _rows(part: Any, title: str, rows: dict[str, Array]) -> None:
    """Show named rows of pictures, one below the other."""
    part.suptitle(title, fontsize=11, color=INK)
    for axes, (name, images) in zip(part.subplots(len(rows), 1), rows.items(), strict=True):
        _show(axes, _framed(images, 1))
        axes.set_title(name, fontsize=9.5, color=INK, loc="left", pad=2)


def _framed(images: Array, gap: int, shade: float = -1.0) -> Array:
    """Return (N, H, W, 1) images side by side, so many pixels of a shade between them."""
    padded = np.pad(images[..., 0], ((0, 0), (0, gap), (0, gap)), constant_values=shade)
    row: Array = np.concatenate(list(padded), axis=1)
    return row


def _show(axes: Any, picture: Array, colours: str = "gray_r") -> None:
    """Show ink on paper, or light on a screen."""
    axes.imshow(picture, cmap=colours, vmin=-1, vmax=1, interpolation="nearest")
    axes.set_axis_off()


if __name__ == "__main__":
    print(conditioning())
