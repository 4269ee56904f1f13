"""A GPU's figures for readers: aligned text for a terminal, Markdown beside the JSON."""

from collections.abc import Sequence
from typing import Any

from benchmarks.tables import aligned

Row = dict[str, Any]
TITLES = (
    *("op", "case", "backend", "error", "cold µs", "warm µs", "graph µs", "in µs", "out µs"),
    *("all µs", "% of limit", "x eager", "x compile", "x best", "x cuDNN", "x CPU"),
)
TIMES = (*("kernel_cold_s", "kernel_warm_s", "kernel_graph_s", "h2d_s", "d2h_s", "end_to_end_s"),)
FASTER = (
    *("ratio_torch_eager", "ratio_torch_compile", "ratio_torch_best", "ratio_cudnn", "ratio_cpu"),
)
UNITS = {  # limit -> name, unit, how many of ours make one of it
    "copy_bytes_per_s": ("memory, copied", "GB/s", 1e9),
    "fp32_flops": ("fp32 multiply-adds", "TFLOP/s", 1e12),
    "matmul_fp32_flops": ("PyTorch's product, fp32", "TFLOP/s", 1e12),
    "matmul_tf32_flops": ("PyTorch's product, TF32", "TFLOP/s", 1e12),
    "matmul_bf16_flops": ("PyTorch's product, bf16", "TFLOP/s", 1e12),
    "h2d_bytes_per_s": ("to the device", "GB/s", 1e9),
    "d2h_bytes_per_s": ("from the device", "GB/s", 1e9),
    "launch_s": ("a launch", "µs", 1e-6),
}


def table(rows: Sequence[Row]) -> str:
    """Return the rows as aligned text; a contender that computes something else has no time."""
    return "\n".join(aligned([TITLES, *(_cells(row) for row in rows)]))


def markdown(found: Row) -> str:
    """Return a result as Markdown: the device, goals, where it overtakes the CPU, all rows."""
    about = found["environment"]
    parts = [_device(about, found["limits"])]
    parts += [_stages(found["stages"])] if found.get("stages") else []
    parts.append(_goals(found["goals"]))
    parts += [_crossings(found["crossings"])] if found["crossings"] else []
    parts.append(_lines(TITLES, [_cells(row) for row in found["rows"]]))
    for key, said in (("absent", "left out"), ("not_run", "not run for want of time")):
        if found[key]:
            parts.append("\n".join([f"{said}:", "", *(f"- {line}" for line in found[key])]))
    return "\n\n".join(parts)


def _device(about: Row, limits: Row) -> str:
    device = about.get("device", {})
    versions = ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items())
    shown = [
        f"{name} {limits[key] / unit:.4g} {word}"
        for key, (name, word, unit) in UNITS.items()
        if limits.get(key)
    ]
    return (
        f"{device.get('name', 'no device')}, {about['date']}, commit {about['commit']}; "
        f"{versions}. Measured in this run: {'; '.join(shown)}. Times are medians by the device's "
        "own events; cold means that other data were written over the L2 before each call, warm "
        "that calls follow each other on one set of inputs, graph that they were captured; above 1 "
        "refgen is faster."
    )


def _stages(stages: Sequence[Row]) -> str:
    """Return what became of each stage of a whole run."""
    lines = []
    for s in stages:
        found = ", ".join(f"{k} {v}" for k, v in s.get("found", {}).items() if k != "equality")
        found += ", ".join(_equal(row) for row in s.get("found", {}).get("equality", []))
        last = (s.get("says", "").strip().splitlines() or [""])[-1]
        shown = found or ("" if s["status"] == "ok" else last.replace("|", "/"))
        lines.append((s["stage"], s["status"], f"{s['seconds']:.0f}", shown))
    return _lines(("stage", "status", "s", "found"), lines)


def _equal(row: Row) -> str:
    """Return how many numbers were compared, and how many differ."""
    said = f"{row['backend']}: {row['compared']:,} {row['kind']}, {row['different']} differ"
    return said + ("" if row["compared"] == row["asked"] else f" (of {row['asked']:,} asked)")


def _goals(goals: Sequence[Row]) -> str:
    titles = ("goal", "backend", "wanted", "reached in", "worst", "best")
    lines = [
        (
            g["goal"],
            g["backend"],
            f"{g['wanted']:g}" + (f" (try {g['tried']:g})" if g["tried"] else ""),
            f"{g['met']} of {g['rows']}" if g["rows"] else "not measured",
            number(g["worst"], "{:.2f}"),
            number(g["best"], "{:.2f}"),
        )
        for g in goals
    ]
    return _lines(titles, lines)


def _crossings(found: Sequence[Row]) -> str:
    titles = (
        "the GPU overtakes the CPU",
        "backend",
        "data on the device",
        "with the way in and out",
    )
    lines = [
        (c["op"], c["backend"], _numbers(c["resident"]), _numbers(c["end_to_end"])) for c in found
    ]
    return _lines(titles, lines)


def _numbers(size: float | None) -> str:
    if size is None:
        return "not at the sizes measured"
    return f"from {size:,.0f} numbers" if size else "at every size measured"


def _lines(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = [titles, ["---"] * len(titles)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*head, *lines])


def _cells(row: Row) -> tuple[str, ...]:
    """Return the cells of one row."""
    start = (row["op"], row["case"], row["backend"], number(row["error"], "{:.0e}"))
    if not row["right"]:
        return (*start, "WRONG", *[""] * (len(TITLES) - 5))
    share = number(row["percent_of_limit"], "{:.0f}") + f" {row['limit'] or ''}"
    return (
        *start,
        *(_micro(row[key]) for key in TIMES),
        share.strip(),
        *(number(row[_same(key, row)], "{:.2f}") for key in FASTER),
    )


def _same(key: str, row: Row) -> str:
    """Return the key of cuDNN's figure in the precision of a row."""
    less = key == "ratio_cudnn" and row["precision"] != "fp32"
    return f"ratio_torch_{row['precision']}" if less else key


def _micro(seconds: float | None) -> str:
    return number(None if seconds is None else 1e6 * seconds, "{:.4g}")


def number(value: float | None, form: str) -> str:
    """Return a number as it is printed, nothing for none.

    >>> number(0.25, "{:.1f}"), number(None, "{:.1f}")
    ('0.2', '')
    """
    return "" if value is None else form.format(value)
