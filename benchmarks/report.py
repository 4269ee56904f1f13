"""Rows of figures: what a program reads in the JSON, and what the tables and plots are made of."""

import json
import math
from typing import Any

from benchmarks.cases import Case
from benchmarks.contenders import CONTENDERS
from benchmarks.counts import counts
from benchmarks.timing import Timing, ratio, ratios

SCHEMA = 1


def rows_of(case: Case, timings: dict[str, Timing], peak: float = 0.0) -> list[dict[str, Any]]:
    """Return a row for every contender; a ratio above 1 means that this contender is faster.

    peak is the arithmetic of the machine, FLOPs a second.
    """
    timed = {name: t for name, t in timings.items() if t.seconds}
    torch = {name: t for name, t in timed.items() if name.startswith("torch")}
    best = min(torch, key=lambda name: torch[name].median, default=None)
    rows = []
    for name, t in timings.items():
        if name == "limit":
            continue
        row = _empty(case, name, t, best)
        if name in timed:
            low, high = t.spread
            row |= {"median_s": t.median, "min_s": min(t.seconds), "spread_s": [low, high]}
            row |= {"samples_s": [float(f"{s:.4g}") for s in t.seconds]}
            row |= _against("reference", timed.get("numpy"), t)
            row |= _against("torch_eager", timed.get("torch"), t)
            row |= _against("torch_best", timed.get(best or ""), t)
            row |= _of_limit(timed.get("limit"), row, t, peak)
        rows.append(row)
    return rows


def _empty(case: Case, name: str, t: Timing, best: str | None) -> dict[str, Any]:
    """Return a row with everything but times."""
    counted = counts(case)
    error = t.error if t.error is not None and math.isfinite(t.error) else None
    ratios = {f"ratio_{other}": None for other in ("reference", "torch_eager", "torch_best")}
    return {
        "op": case.name,
        "case": case.label,
        "dtype": "float32",
        "backend": name,
        "run_by": t.about.get("run_by", ""),
        "coretype": CONTENDERS[name].environment.get("OPENBLAS_CORETYPE", ""),
        "sweep": case.sweep,
        "elements": case.elements,
        "error": error,
        "allowed": t.allowed,
        "rule": t.rule,
        "right": t.right,
        "median_s": None,
        "rounds": len(t.seconds),
        "noisy": sum(t.noisy),
        "noisy_rounds": [i for i, noisy in enumerate(t.noisy) if noisy],
        **ratios,
        "torch_best": best,
        "bytes": counted.moved,
        "flops": t.about["flops"] if case.whole else counted.flops,
        "percent_of_limit": None,
        "limit": None,
    }


def _against(key: str, other: Timing | None, this: Timing) -> dict[str, Any]:
    if other is None:
        return {}
    each = ratios(other, this)
    return {f"ratio_{key}": ratio(other, this), f"ratio_{key}_range": [each[0], each[-1]]}


def _of_limit(
    memory: Timing | None, row: dict[str, Any], this: Timing, peak: float
) -> dict[str, Any]:
    """Return the share of whichever limit is the lower roof, and the speeds behind it."""
    seconds = row["flops"] / peak if peak else 0.0
    found: dict[str, Any] = {
        "gb_per_s": row["bytes"] / this.median / 1e9,
        "gflops": row["flops"] / this.median / 1e9,
    }
    if memory is not None and memory.median >= seconds:
        return found | {
            "percent_of_limit": 100 * ratio(memory, this),
            "limit": "memory",
            "limit_s": memory.median,
        }
    if not seconds:
        return found
    percent = 100 * seconds / this.median
    return found | {"percent_of_limit": percent, "limit": "arithmetic", "limit_s": seconds}


def document(
    about: dict[str, Any], rows: list[dict[str, Any]], speeds: dict[str, float], peak: float
) -> dict[str, Any]:
    """Return all that a run leaves behind; speeds are those of the memory loops, bytes a second."""
    copies = {key: round(speed / 1e9, 1) for key, speed in speeds.items()}
    limits = {"arithmetic_gflops": round(peak / 1e9, 1), "copy_gb_per_s": copies}
    return {"schema": SCHEMA, "environment": about, "limits": limits, "rows": rows}


def text(found: dict[str, Any]) -> str:
    """Return a document as JSON, a line for each row.

    >>> print(text({"schema": 1, "rows": [{"op": "add"}, {"op": "normals"}]}))
    {
     "schema": 1,
     "rows": [
      {"op": "add"},
      {"op": "normals"}
     ]
    }
    """
    rest = json.dumps({k: v for k, v in found.items() if k != "rows"}, indent=1)
    rows = ",\n".join(f"  {json.dumps(row)}" for row in found["rows"])
    return rest.removesuffix("\n}") + f',\n "rows": [\n{rows}\n ]\n}}'
