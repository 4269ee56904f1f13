"""The rows for readers: aligned text for a terminal, Markdown for the README."""

from collections.abc import Sequence
from typing import Any

from benchmarks.cases import Case
from benchmarks.contenders import CONTENDERS
from benchmarks.sizes import BY_KEY

Row = dict[str, Any]
LEFT = 3  # columns of words, aligned to the left
TITLES = (
    *("op", "case", "backend", "error", "ms", "± ms"),
    *("x numpy", "x torch", "x best", "% of limit", "noisy", "best torch"),
)
MARKDOWN = (
    *("", "size", "ms", "error", "× NumPy", "× PyTorch"),
    *("× best PyTorch", "of the machine's limit"),
)
RULES = {
    "winograd": "1e-4 of the result's standard deviation",
    "float32": "1e-5 of the largest entry",
    "steps": "gradients within 2e-5 of each tensor's largest entry, samples within 1e-4 of std",
    "moments": "another generator: mean 0, variance 1",
}


def table(rows: list[Row]) -> str:
    """Return the rows as aligned text; a contender that computes something else has no time."""
    lines = [TITLES, *(_cells(row) for row in rows)]
    return "\n".join([*aligned(lines), *notes(rows)])


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of cells as lines of text, columns under each other."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i < LEFT else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def notes(rows: list[Row]) -> list[str]:
    """Return what the columns cannot say: rules, environments, the arithmetic of whole steps."""
    lines = [""]
    for rule in RULES:
        judged = sorted({f"{r['op']} of {r['backend']}" for r in rows if r["rule"] == rule})
        if judged:
            lines.append(f"judged by {rule} ({RULES[rule]}): {', '.join(judged)}")
    for name in sorted(CONTENDERS.keys() & {row["backend"] for row in rows}):
        if found := CONTENDERS[name].environment:
            lines.append(f"{name}: {' '.join(f'{k}={v}' for k, v in found.items())}")
    whole = {f"{r['op']} {r['case']}" for r in rows if r["flops"] and not r["bytes"]}
    for key in sorted(whole):
        counts = {r["backend"]: r["flops"] for r in rows if f"{r['op']} {r['case']}" == key}
        said = ", ".join(f"{n} {flops / 1e9:.4g}" for n, flops in counts.items())
        lines.append(f"GFLOP of {key}: {said}")
    return lines


def markdown(document: dict[str, Any], quick: bool = False) -> str:
    """Return a result as Markdown, the kernels of refgen against all others.

    quick leaves the whole steps and what `--quick` measures: the README's table.
    """
    about, limits = document["environment"], document["limits"]
    rows = [r for r in document["rows"] if r["backend"].startswith("numba") and not r["sweep"]]
    if quick:
        rows = [r for r in rows if (case := _case(r)) and (case.quick or case.whole)]
    rows.sort(key=lambda r: bool(r["bytes"]))  # whole steps first
    said = (
        f"{about['cpu']}, {about['cores']} cores, {about['date']}, commit {about['commit']}; "
        f"float32, medians; above 1 refgen is faster. The machine's limit is memory (the same "
        f"arrays read and written by a loop that does nothing else) or arithmetic "
        f"({limits['arithmetic_gflops']:.0f} GFLOP/s), whichever is lower; FLOPs are those of the "
        f"definition, of which Winograd's convolutions need a fourth."
    )
    lines = [MARKDOWN, ("---",) * 2 + ("---:",) * (len(MARKDOWN) - 2), *map(_markdown_cells, rows)]
    return "\n".join([said, "", *(f"| {' | '.join(line)} |" for line in lines)])


def _case(row: Row) -> Case | None:
    return BY_KEY.get(f"{row['op']}:{row['case']}")


def _cells(row: Row) -> tuple[str, ...]:
    """Return the cells of one row of text."""
    start = (row["op"], row["case"], backend(row), _number(row["error"], "{:.1e}"))
    if not row["right"]:
        return (*start, "WRONG", *[""] * (len(TITLES) - 5))
    if row["median_s"] is None:
        return (*start, *[""] * (len(TITLES) - 4))
    low, high = row["spread_s"]
    return (
        *start,
        f"{row['median_s'] * 1e3:.3f}",
        f"{(high - low) / 2 * 1e3:.3f}",
        _number(row["ratio_reference"], "{:.2f}"),
        _number(row["ratio_torch_eager"], "{:.2f}"),
        _number(row["ratio_torch_best"], "{:.2f}"),
        limit(row),
        f"{row['noisy']}/{row['rounds']}",
        (row["torch_best"] or "").removeprefix("torch-").replace("torch", "eager"),
    )


def _markdown_cells(row: Row) -> tuple[str, ...]:
    """Return the cells of one row of Markdown."""
    page, core = "page" in backend(row), row["coretype"]
    name = f"`{row['op']}`" + " (page)" * page + (f", BLAS told {core}" if core else "")
    if row["median_s"] is None:
        return (name, row["case"], "wrong", _number(row["error"], "{:.0e}"), *[""] * 4)
    best = (row["torch_best"] or "").removeprefix("torch-").replace("torch", "eager")
    return (
        name,
        row["case"],
        f"{row['median_s'] * 1e3:.3g}",
        _number(row["error"], "{:.0e}"),
        _number(row["ratio_reference"], "{:.1f}"),
        _number(row["ratio_torch_eager"], "{:.2f}"),
        f"{row['ratio_torch_best']:.2f} ({best})" if best else "",
        limit(row),
    )


def backend(row: Row) -> str:
    """Return a backend's name; where it has no twin of an op, that the page ran."""
    page = row["backend"].startswith("numba") and row["run_by"].startswith("refgen.ops")
    return f"{row['backend']} (page)" if page else str(row["backend"])


def limit(row: Row) -> str:
    """Return the share of the lower roof, and which it is."""
    if row["percent_of_limit"] is None:
        return ""
    return f"{row['percent_of_limit']:.0f} % {row['limit']}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
