"""Pictures of a run: sample grids, points beside the data, loss curves. PNG, written whole.

Shapes     images : (N, H, W, C) in [-1, 1], C of 1 or 3    points : (N, 1) or (N, 2)
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refgen.cli import terms

if TYPE_CHECKING:
    from refgen.typing import Array

PAPER, INK, GRID = "#ffffff", "#22262b", "#e3e5e8"
DATA, MODEL = "#5b7083", "#c8452d"
LINES = ("#2b5f9e", "#c8452d", "#3a8a5c", "#8a5aa8", "#b8860b")
CELL = 56  # pixels: small images are enlarged to about this


def drawable() -> str:
    """Return "" when pictures can be drawn, else the line that says what is missing."""
    try:
        terms.need("PIL.Image", "viz")
        terms.need("matplotlib", "viz")
    except terms.Refusal as refusal:
        return f"no pictures: {refusal}"
    return ""


def titled(name: str, trained: int, sampler: str = "", steps: int = 0, **asked: Any) -> str:
    """Return the line over samples: of what system, drawn how.

    >>> titled("cfg", 4000, "ddim", 50, label=3, guidance=2.0)
    'cfg after 4,000 steps: ddim, 50 sampling steps, label 3, guidance 2'
    """
    how = [sampler] * bool(sampler) + [terms.several(steps, "sampling step")] * bool(steps)
    for what, value in asked.items():
        values = value if isinstance(value, tuple) else (value,)
        how.append(
            " ".join([what, *(f'"{v}"' if isinstance(v, str) else f"{v:g}" for v in values)])
        )
    after = f"{name} after {terms.several(trained, 'step')}"
    return f"{after}: {', '.join(how)}" if how else after


def picture(samples: "Array", data: "Array", path: Path, title: str = "") -> None:
    """Write images as a grid under its title, points as a scatter beside the data."""
    if samples.ndim == 4:
        grid(samples, path, title)
    else:
        scatter(samples, data, path)


def grid(images: "Array", path: Path, title: str = "") -> None:
    """Write images row by row, whole pixels enlarged, a thin margin between them."""
    import numpy as np

    image = terms.need("PIL.Image", "viz")
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    scale = max(1, round(CELL / max(height, width)))
    gap = max(2, scale // 2)
    light = np.clip((np.nan_to_num(images, nan=-1.0) + 1) * 127.5, 0, 255).round().astype(np.uint8)
    light = light.repeat(scale, axis=1).repeat(scale, axis=2)
    high, wide = height * scale + gap, width * scale + gap
    sheet = np.full((rows * high + gap, columns * wide + gap, channels), 255, np.uint8)
    for i, one in enumerate(light):
        top, left = gap + i // columns * high, gap + i % columns * wide
        sheet[top : top + height * scale, left : left + width * scale] = one
    drawn = image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    _save(_under(title, drawn, gap) if title else drawn, path)


def _under(title: str, sheet: Any, gap: int) -> Any:
    """Return a sheet with a line above it, wide enough for that."""
    image, draw = terms.need("PIL.Image", "viz"), terms.need("PIL.ImageDraw", "viz")
    font = terms.need("PIL.ImageFont", "viz").load_default(14)
    wide, high = max(sheet.width, math.ceil(font.getlength(title)) + 2 * gap), 20 + gap
    page = image.new(sheet.mode, (wide, sheet.height + high), PAPER)
    draw.Draw(page).text((gap, gap), title, fill=INK, font=font)
    page.paste(sheet, (0, high))
    return page


def scatter(points: "Array", data: "Array", path: Path) -> None:
    """Write data and samples, their first two coordinates, on equal axes; of one, histograms."""
    if data.shape[1] == 1:
        _histogram(points, data, path)
        return
    figure, axes = _figure(1, 2, (8.2, 4.4))
    of = f" of {data.shape[1]}" if data.shape[1] > 2 else ""
    points, data = points[:, :2], data[:, :2]
    low, high = _limits(data, points)
    for ax, cloud, colour, name in (
        (axes[0], data[: max(len(points), 1)], DATA, "data"),
        (axes[1], points, MODEL, "samples"),
    ):
        size = min(8.0, max(3.2, 100 / math.sqrt(max(len(cloud), 1))))  # few dots are large
        ax.plot(cloud[:, 0], cloud[:, 1], ".", ms=size, mew=0, alpha=0.55, color=colour)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        ax.set_title(name, loc="left", fontsize=10.5, color=INK)
        ax.set_xlabel(f"coordinate 1{of}", fontsize=9)
        ax.set_ylabel(f"coordinate 2{of}", fontsize=9)
        ax.set_title(_outside(cloud, low, high), loc="right", fontsize=8.5, color=INK)
    _save_figure(figure, path)


def curves(
    history: Mapping[str, Sequence[tuple[int, float]]], path: Path, units: Mapping[str, str]
) -> None:
    """Write one panel for each "player/term", a series of (step, value): raw, and smoothed.

    units says what the losses of a player are in.
    """
    import numpy as np

    figure, axes = _figure(len(history), 1, (7.4, 0.7 + 1.8 * len(history)), sharex=True)
    for ax, (name, series), colour in zip(
        axes, history.items(), LINES * len(history), strict=False
    ):
        points = np.array(series, float)
        steps, values = points[np.isfinite(points[:, 1])].T
        ax.plot(steps, values, lw=0.7, color=colour, alpha=0.3)
        ax.plot(steps, smooth(values), lw=1.6, color=colour)
        if len(values) > 4:
            late = values[len(values) // 20 :]  # the first steps would flatten all that follows
            low, high = np.quantile(late, [0.001, 0.999])
            room = 0.08 * (high - low) or 1.0
            ax.set_ylim(low - room, high + room)
        ax.set_title(
            name.removeprefix("model/").replace("/", ": "), loc="left", fontsize=10.5, color=INK
        )
        unit = units.get(name.partition("/")[0], "loss")
        ax.set_ylabel("logit" if name.endswith(("/real", "/fake")) else unit, fontsize=9)
        ax.margins(x=0.01)
    axes[-1].set_xlabel("step", fontsize=9)
    _save_figure(figure, path)


def smooth(values: "Array", window: float = 0.02) -> "Array":
    """Return the mean over a window around each entry, which is cut off at both ends."""
    import numpy as np

    half, last = max(1, int(len(values) * window / 2)), len(values)
    total = np.concatenate([[0.0], np.cumsum(values)])
    here = np.arange(last)
    start, stop = np.maximum(here - half, 0), np.minimum(here + half + 1, last)
    mean: Array = (total[stop] - total[start]) / (stop - start)
    return mean


def _histogram(points: "Array", data: "Array", path: Path) -> None:
    import numpy as np

    figure, (ax,) = _figure(1, 1, (6.4, 3.9))
    low, high = _limits(data, points)
    few = max(1, min(len(points), len(data)))
    bins = np.linspace(low[0], high[0], 1 + int(np.clip(1.4 * math.sqrt(few), 8, 60)))
    for cloud, colour, name, style in (
        (data, DATA, "data", {"alpha": 0.45}),
        (points, MODEL, "samples", {"histtype": "step", "lw": 1.6}),
    ):
        inside = cloud[(cloud >= low) & (cloud <= high)]  # counted against all of the cloud
        share = np.full(len(inside), 1 / (max(len(cloud), 1) * (bins[1] - bins[0])))
        outside = _outside(cloud, low, high)
        label = f"{name}, {outside}" if outside else name
        ax.hist(inside, bins, weights=share, color=colour, label=label, **style)
    ax.set_xlabel("value", fontsize=9)
    ax.set_ylabel("density", fontsize=9)
    ax.legend(frameon=False, fontsize=9)
    _save_figure(figure, path)


def _limits(data: "Array", points: "Array") -> Any:
    """Return a box with room around the data and the central 99 % of the points, wide as high.

    Points that are far off, two extents of the data or more, do not widen it further.
    """
    import numpy as np

    low, high = data.min(axis=0), data.max(axis=0)
    extent = (high - low).max() or np.inf
    points = points[np.isfinite(points).all(axis=1)]
    if len(points):
        inner = np.quantile(points, [0.005, 0.995], axis=0).clip(
            low - 2 * extent, high + 2 * extent
        )
        low, high = np.minimum(low, inner[0]), np.maximum(high, inner[1])
    centre, half = (low + high) / 2, 0.6 * (high - low).max() or 1.0
    return centre - half, centre + half


def _outside(cloud: "Array", low: "Array", high: "Array") -> str:
    """Return how many points are not in a box; "" where all are."""
    count = len(cloud) - int(((cloud >= low) & (cloud <= high)).all(axis=1).sum())
    return f"{count} of {len(cloud)} outside" if count else ""


def _figure(rows: int, columns: int, size: tuple[float, float], **kwargs: Any) -> Any:
    """Return a figure and a flat list of quiet axes, drawn off screen."""
    terms.need("matplotlib", "viz")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=130, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False, **kwargs).flat)
    for ax in axes:
        ax.grid(color=GRID, lw=0.6)
        ax.set_axisbelow(True)
        ax.tick_params(labelsize=8.5, color=GRID, labelcolor=INK)
        for side, spine in ax.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(GRID)
    return figure, axes


def _save_figure(figure: Any, path: Path) -> None:
    out = io.BytesIO()
    figure.savefig(out, format="png")
    terms.write_whole(path, out.getvalue())


def _save(sheet: Any, path: Path) -> None:
    out = io.BytesIO()
    sheet.save(out, format="PNG", optimize=True)
    terms.write_whole(path, out.getvalue())
