"""Three plots of a result: time against size, the roofline, error against size."""

from pathlib import Path
from typing import Any

from refgen.training.files import write_whole

Row = dict[str, Any]
INK, GRID, PAPER = "#22303c", "#dfe5ea", "#ffffff"
COLOURS = {"numpy": "#8a6d3b", "numba": "#1f6f8b", "torch": "#c0504d", "best torch": "#e39a42"}
LABELS = {
    "numpy": "refgen, NumPy",
    "numba": "refgen, Numba",
    "torch": "PyTorch eager",
    "best torch": "best PyTorch",
}
SWEPT = (
    *("normals", "noising_drawn", "ddpm_step_drawn", "langevin_step_drawn"),
    *("reparameterize_kl_drawn", "ddim_step_drawn", "adam_ema_step"),
)
ERRORS = ("reparameterize_kl_drawn", "ddpm_step_drawn", "conv2d_forward", "conv2d_wgrad")
KINDS = {  # families of the roofline, by the beginning of a name
    "conv2d": "#1f6f8b",
    "conv_transpose2d": "#6a51a3",
    "upsample_conv2d": "#238b8b",
    "attention": "#c0504d",
    "dense": "#8a6d3b",
}
FULL_CACHE = 1e8  # bytes moved, beyond which a copy runs at the speed of the memory itself


def draw(found: dict[str, Any], result: Path) -> list[Path]:
    """Write the plots of a result beside it and return where; ImportError without matplotlib."""
    plots = {"time": time_against_size, "roofline": roofline, "error": error_against_size}
    return [_save(plot(found), result, name) for name, plot in plots.items()]


def time_against_size(found: dict[str, Any]) -> Any:
    """Draw a panel for each op that was measured at many sizes."""
    rows = [r for r in found["rows"] if r["median_s"] is not None]
    figure, grid = _panels(2, 4, (9.6, 5.0))
    for axes, op in zip(grid, SWEPT, strict=False):
        mine = [r for r in rows if r["op"] == op]
        for line in COLOURS:
            points = _line(mine, line)
            axes.loglog(*_columns(points), "o-", ms=3, lw=1.4, color=COLOURS[line])
        limits = {r["elements"]: r["limit_s"] * 1e3 for r in mine if r.get("limit_s")}
        axes.loglog(*_columns(sorted(limits.items())), "--", lw=1, color=INK)
        axes.set_title(op, fontsize=8.5, color=INK)
    for axes in grid[4:7]:
        axes.set_xlabel("numbers", fontsize=8)
    for axes in (grid[0], grid[4]):
        axes.set_ylabel("ms", fontsize=8)
    grid[7].set_axis_off()
    handles = [*(_handle(colour, "o-") for colour in COLOURS.values()), _handle(INK, "--")]
    names = [*LABELS.values(), "the machine's limit"]
    grid[7].legend(handles, names, fontsize=8.5, loc="center", frameon=False)
    return figure


def roofline(found: dict[str, Any]) -> Any:
    """Draw the speed of every product against its arithmetic per byte, below the two roofs."""
    figure, (axes,) = _panels(1, 1, (9.6, 4.4))
    rows = [r for r in found["rows"] if r["median_s"] and r["bytes"] and r["flops"]]
    best = {(r["op"], r["case"]): r["torch_best"] for r in rows}
    for row in rows:
        kind = next((k for k in KINDS if row["op"].startswith(k)), None)
        if kind is None:
            continue
        point = [row["flops"] / row["bytes"]], [row["gflops"]]
        if row["backend"] in ("numba", best[row["op"], row["case"]]):
            face = KINDS[kind] if row["backend"] == "numba" else "none"
            axes.loglog(*point, "o", ms=6, mfc=face, color=KINDS[kind])
    peak, memory = found["limits"]["arithmetic_gflops"], _memory_speed(found)
    if peak and memory:
        x = [2.0, peak / memory, 2000.0]
        axes.loglog(x, [min(peak, memory * v) for v in x], "-", color=INK, lw=1.4)
        arithmetic, slope = f"arithmetic, {peak:.0f} GFLOP/s", f"memory, {memory:.0f} GB/s"
        axes.text(1900, peak * 1.06, arithmetic, ha="right", va="bottom", fontsize=8, color=INK)
        axes.text(2.9, memory * 2.6, slope, va="top", fontsize=8, color=INK)
    axes.set_xlim(2, 2000)
    axes.margins(y=0.15)
    axes.tick_params(which="minor", labelsize=7.5, colors=INK)
    axes.set_xlabel("FLOP for each byte that must move", fontsize=8)
    axes.set_ylabel("GFLOP/s of the definition", fontsize=8)
    kinds = [_dot(colour, True) for colour in KINDS.values()]
    handles, names = [*kinds, _dot(INK, True), _dot(INK, False)], [*KINDS]
    names += ["filled: refgen, Numba", "open: best PyTorch"]
    figure.legend(handles, names, fontsize=8, frameon=False, loc="outside right center")
    return figure


def error_against_size(found: dict[str, Any]) -> Any:
    """Draw the error against float64, and what it may be, for ops at many sizes."""
    figure, grid = _panels(1, 4, (9.6, 3.0))
    for axes, op in zip(grid, ERRORS, strict=True):
        mine = [r for r in found["rows"] if r["op"] == op and r["error"]]
        conv = op.startswith("conv")
        mine = [r for r in mine if not conv or r["case"].endswith(" 3x3")]
        for line in ("numpy", "numba", "torch"):
            own = [r for r in mine if r["backend"] == line]
            points = sorted((_size(r, conv), r["error"]) for r in own)
            axes.loglog(*_columns(points), "o-", ms=3, lw=1.4, color=COLOURS[line])
            if line == "numba":
                allowed = sorted((_size(r, conv), r["allowed"]) for r in own)
                axes.loglog(*_columns(allowed), ":", lw=1.2, color=INK)
        axes.set_title(op, fontsize=8.5, color=INK)
        axes.set_xlabel("channels, 3 x 3" if conv else "numbers", fontsize=8)
        if conv:
            axes.set_xticks([32, 64, 128, 256], labels=["32", "64", "128", "256"])
            axes.minorticks_off()
    grid[0].set_ylabel("error / largest entry", fontsize=8)
    handles = [_handle(COLOURS[n], "o-") for n in ("numpy", "numba", "torch")]
    names = [LABELS[n] for n in ("numpy", "numba", "torch")]
    figure.legend(
        [*handles, _handle(INK, ":")],
        [*names, "allowed for Numba"],
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    return figure


def _save(figure: Any, result: Path, name: str) -> Path:
    path = result.with_name(f"{result.stem}-{name}.png")
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=160))
    return path


def _line(rows: list[Row], line: str) -> list[tuple[float, float]]:
    """Return (numbers, ms) of one contender, or of whichever PyTorch was fastest."""
    wanted = [r for r in rows if r["backend"] == (r["torch_best"] if "best" in line else line)]
    return sorted((r["elements"], r["median_s"] * 1e3) for r in wanted)


def _columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _size(row: Row, conv: bool) -> float:
    """Return the numbers of an array, or for a convolution its channels."""
    return float(row["case"].split()[0].split("x")[-1]) if conv else float(row["elements"])


def _memory_speed(found: dict[str, Any]) -> float:
    """Return the speed of the memory in GB/s: of loops too large for the caches, the median."""
    moved = {f"{r['op']}:{r['case']}": r["bytes"] for r in found["rows"]}
    copies = found["limits"]["copy_gb_per_s"]
    large = sorted(v for key, v in copies.items() if moved.get(key, 0) > FULL_CACHE)
    return float(large[len(large) // 2]) if large else min(copies.values(), default=0.0)


def _panels(down: int, across: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, facecolor=PAPER, layout="constrained")
    grid = [a for row in figure.subplots(down, across, squeeze=False) for a in row]
    for axes in grid:
        axes.grid(True, color=GRID, lw=0.6)
        axes.tick_params(labelsize=7.5, colors=INK)
        for side in axes.spines.values():
            side.set_color(GRID)
    return figure, grid


def _dot(colour: str, filled: bool) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, ls="", marker="o", ms=6, mfc=colour if filled else "none")


def _handle(colour: str, style: str) -> Any:
    from matplotlib.lines import Line2D

    marker = "o" if "o" in style else ""
    return Line2D([], [], color=colour, ls=style.removeprefix("o"), marker=marker, ms=3, lw=1.4)
