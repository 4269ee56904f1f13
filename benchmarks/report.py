"""Rows of figures, for a reader (a table) and for a program (JSON)."""

import statistics
from typing import Any

from benchmarks.cases import Case
from benchmarks.duel import Timing, ratios

COLUMNS = (
    ("op", "op", "{}"),
    ("case", "case", "{}"),
    ("backend", "backend", "{}"),
    ("error", "error", "{:.1e}"),
    ("median_s", "ms", "{:.3f}"),
    ("ratio_reference", "x numpy", "{:.1f}"),
    ("ratio_torch_eager", "x torch", "{:.1f}"),
    ("ratio_torch_best", "x best torch", "{:.1f}"),
    ("percent_of_limit", "% of copy", "{:.0f}"),
    ("noisy", "noisy", "{}"),
)


def rows_of(case: Case, timings: dict[str, Timing]) -> list[dict[str, Any]]:
    """Return a row for every contender; a ratio above 1 means that this contender is faster."""
    timed = {name: t for name, t in timings.items() if t.seconds}
    torch = {name: t for name, t in timed.items() if name.startswith("torch")}
    best = min(torch, key=lambda name: torch[name].median, default=None)
    limit = timed.get("limit")
    rows = []
    for name, t in timings.items():
        if name == "limit":
            continue
        row: dict[str, Any] = {
            "op": case.op,
            "case": case.label,
            "dtype": "float32",
            "backend": name,
            "error": t.error,
            "right": t.right,
            "median_s": None,
            "min_s": None,
            "rounds": len(t.seconds),
            "noisy": sum(t.noisy),
            "ratio_reference": None,
            "ratio_torch_eager": None,
            "ratio_torch_eager_range": None,
            "ratio_torch_best": None,
            "torch_best": best,
            "percent_of_limit": None,
            "limit": "copy of the same bytes, all cores",
        }
        if name in timed:
            row |= {"median_s": t.median, "min_s": min(t.seconds)}
            row |= _against("ratio_reference", timed.get("numpy"), t)
            row |= _against("ratio_torch_eager", timed.get("torch"), t)
            row |= _against("ratio_torch_best", timed.get(best or ""), t)
            if "torch" in timed:
                each = ratios(timed["torch"], t)
                row["ratio_torch_eager_range"] = [each[0], each[-1]]
            if limit is not None:
                row["percent_of_limit"] = 100 * min(limit.seconds) / t.median
        rows.append(row)
    return rows


def _against(key: str, other: Timing | None, this: Timing) -> dict[str, float]:
    return {} if other is None else {key: statistics.median(ratios(other, this))}


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as aligned text; a contender that computes something else has no time."""
    lines = [[title for _, title, _ in COLUMNS]]
    for row in rows:
        cells = [
            "" if row[key] is None else form.format(_shown(row, key)) for key, _, form in COLUMNS
        ]
        lines.append(cells if row["right"] else [*cells[:4], "WRONG", *cells[5:]])
    widths = [max(len(line[i]) for line in lines) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < 3 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _shown(row: dict[str, Any], key: str) -> Any:
    if key == "median_s":
        return row[key] * 1e3
    return f"{row[key]}/{row['rounds']}" if key == "noisy" else row[key]
