"""Two plots of a GPU's result: time against size beside the CPU, and shares of the limit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.cases import SWEPT
from benchmarks.plots import GRID, INK, _columns, _handle, _panels, _save

Row = dict[str, Any]
LINES = {  # what is drawn -> backend, figure, colour, style
    "CPU, Numba": ("numba", "median_s", "#8a6d3b", "o-"),
    "CUDA C++, on the device": ("cupy", "kernel_warm_s", "#1f6f8b", "o-"),
    "CUDA C++, in a graph": ("cupy", "kernel_graph_s", "#1f6f8b", "o:"),
    "CUDA C++, with the way in and out": ("cupy", "end_to_end_s", "#1f6f8b", "o--"),
    "Numba CUDA, on the device": ("numba-cuda", "kernel_warm_s", "#6a51a3", "o-"),
    "PyTorch eager, on the device": ("torch", "kernel_warm_s", "#c0504d", "o-"),
}
BARS = {"cupy": "#1f6f8b", "numba-cuda": "#6a51a3", "torch": "#c0504d", "torch-compile": "#e39a42"}


def draw(found: dict[str, Any], result: Path) -> list[Path]:
    """Write the plots of a result beside it and return where; ImportError without matplotlib."""
    plots = {"time": time_against_size, "limit": shares_of_the_limit}
    return [_save(plot(found), result, name) for name, plot in plots.items()]


def time_against_size(found: dict[str, Any]) -> Any:
    """Draw a panel for each op that was measured at many sizes; a cross is where lines cross."""
    figure, grid = _panels(2, 4, (9.6, 5.0))
    for axes, op in zip(grid, SWEPT, strict=False):
        mine = [r for r in found["rows"] if r["op"] == op]
        for backend, figure_of, colour, style in LINES.values():
            points = _points(mine, backend, figure_of)
            axes.loglog(*_columns(points), style, ms=3, lw=1.3, color=colour)
        for crossing in found["crossings"]:
            if crossing["op"] == op and crossing["backend"] == "cupy":
                for size in (crossing["resident"], crossing["end_to_end"]):
                    if size:
                        axes.axvline(size, color=INK, lw=0.8, ls=":")
        axes.set_title(op, fontsize=8.5, color=INK)
    for axes in grid[4:7]:
        axes.set_xlabel("numbers", fontsize=8)
    for axes in (grid[0], grid[4]):
        axes.set_ylabel("ms", fontsize=8)
    grid[7].set_axis_off()
    handles = [_handle(colour, style) for _, _, colour, style in LINES.values()]
    names = [*LINES, "it overtakes the CPU"]
    handles.append(_handle(INK, ":"))
    grid[7].legend(handles, names, fontsize=7.5, loc="center", frameon=False)
    return figure


def shares_of_the_limit(found: dict[str, Any]) -> Any:
    """Draw how near every large case comes to the lower of both limits."""
    rows = [r for r in found["rows"] if r["percent_of_limit"] and not r["sweep"]]
    keys = list(dict.fromkeys((r["op"], r["case"]) for r in rows))
    figure, (axes,) = _panels(1, 1, (9.6, 1.2 + 0.22 * max(len(keys), 4)))
    for i, (backend, colour) in enumerate(BARS.items()):
        mine = {
            (r["op"], r["case"]): r["percent_of_limit"] for r in rows if r["backend"] == backend
        }
        places = [(y, mine[key]) for y, key in enumerate(keys) if key in mine]
        heights = [y + 0.2 * (i - 1.5) for y, _ in places]
        axes.barh(heights, [share for _, share in places], 0.18, color=colour, label=backend)
    axes.axvline(100, color=INK, lw=1)
    axes.set_yticks(range(len(keys)), [f"{op}  {case}" for op, case in keys], fontsize=7)
    axes.set_ylim(max(len(keys), 1) - 0.4, -0.6)
    axes.grid(axis="y", color=GRID, lw=0)
    axes.set_xlabel("% of the limit measured in this run", fontsize=8)
    if keys:
        figure.legend(fontsize=8, frameon=False, loc="outside upper center", ncols=len(BARS))
    return figure


def _points(rows: Sequence[Row], backend: str, key: str) -> list[tuple[float, float]]:
    """Return (numbers, ms)."""
    mine = [r for r in rows if r["backend"] == backend and r[key]]
    return sorted((float(r["elements"]), r[key] * 1e3) for r in mine)
