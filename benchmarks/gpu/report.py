"""Rows of a GPU's figures: times, ratios, shares of what the device can do."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cases import Case
from benchmarks.counts import counts
from benchmarks.gpu.contenders import HOSTS
from benchmarks.gpu.duel import Found
from benchmarks.timing import Timing, ratio

Row = dict[str, Any]
Limits = Mapping[str, float]
PEAKS = {"fp32": "fp32_flops", "tf32": "matmul_tf32_flops", "bf16": "matmul_bf16_flops"}
RATIOS = {  # key -> who is asked how much slower they are; of several the fastest
    "reference": ("numpy",),
    "cpu": ("numba",),
    "torch_eager": ("torch",),
    "torch_compile": ("torch-compile", "torch-compile-last"),
    "torch_best": ("torch", "torch-last", "torch-compile", "torch-compile-last"),
    "torch_tf32": ("torch-tf32", "torch-tf32-last"),
    "torch_bf16": ("torch-bf16-last",),
}
CUDNN = ("torch", "torch-last")  # whose convolutions are cuDNN's, in fp32


def rows_of(case: Case, found: Mapping[str, Found], limits: Limits) -> list[Row]:
    """Return a row for every contender; a ratio above 1 means that this contender is faster."""
    timed = {name: f for name, f in found.items() if f.main.seconds}
    best = _fastest(timed, RATIOS["torch_best"])
    rows = []
    for name, mine in found.items():
        row = _empty(case, name, mine, best)
        if name in timed:
            row |= _times(name, mine)
            row |= {f"ratio_{key}": _ratio(timed, mine, of) for key, of in RATIOS.items()}
            if case.op.startswith("conv"):
                row["ratio_cudnn"] = _ratio(timed, mine, CUDNN)
            row["ratio_torch_graph"] = _of_graphs(timed, mine)
            row |= _of_limits(row, limits)
        rows.append(row)
    return rows


def _empty(case: Case, name: str, mine: Found, best: str | None) -> Row:
    """Return a row with everything but times."""
    counted, said = counts(case), mine.warm
    error = said.error if said.error is not None and math.isfinite(said.error) else None
    absent = dict.fromkeys([f"ratio_{key}" for key in (*RATIOS, "cudnn", "torch_graph")])
    times = ("median_s", "kernel_cold_s", "kernel_warm_s", "kernel_graph_s", "h2d_s", "d2h_s")
    return {
        "op": case.name,
        "case": case.label,
        "dtype": "float32",
        "backend": name,
        "precision": said.about.get("precision", "fp32"),
        "run_by": said.about.get("run_by", ""),
        "sweep": case.sweep,
        "elements": case.elements,
        "error": error,
        "allowed": said.allowed,
        "rule": said.rule,
        "right": said.right,
        **dict.fromkeys([*times, "end_to_end_s"]),
        "rounds": len(mine.main.seconds),
        **absent,
        "torch_best": best,
        "bytes": counted.moved,
        "kept_bytes": said.about.get("kept_bytes", 0),
        "flops": said.about.get("flops", 0.0) if case.whole else counted.flops,
        "of_copy": None,
        "of_copy_kept": None,
        "percent_of_limit": None,
        "limit": None,
    }


def _times(name: str, mine: Found) -> Row:
    """Return the times; the CPU has its data at home, so its call is all there is."""
    low, high = mine.main.spread
    found: Row = {
        "median_s": mine.main.median,
        "spread_s": [low, high],
        "kernel_cold_s": mine.cold.median if mine.cold.seconds else None,
        "kernel_warm_s": mine.warm.median,
        "kernel_graph_s": mine.graph_s,
        "samples_s": [float(f"{s:.4g}") for s in mine.main.seconds],
    }
    moves = {f"{key}_s": seconds for key, seconds in mine.moves.items()}
    return found | moves | ({"end_to_end_s": mine.warm.median} if name in HOSTS else {})


def _fastest(timed: Mapping[str, Found], names: Sequence[str]) -> str | None:
    here = [name for name in names if name in timed]
    return min(here, key=lambda name: timed[name].main.median, default=None)


def _ratio(timed: Mapping[str, Found], mine: Found, names: Sequence[str]) -> float | None:
    """Return how many times faster this is than the fastest of those, within the same rounds."""
    other = _fastest(timed, names)
    return None if other is None else ratio(*_comparable(timed[other], mine))


def _comparable(other: Found, mine: Found) -> tuple[Timing, Timing]:
    """Return figures of one kind: cold beside cold; the CPU has only warm ones."""
    if other.cold.seconds and mine.cold.seconds:
        return other.cold, mine.cold
    return other.warm, mine.warm


def _of_graphs(timed: Mapping[str, Found], mine: Found) -> float | None:
    """Return how many times faster this is than PyTorch when both are captured."""
    theirs = [timed[n].graph_s for n in RATIOS["torch_best"] if n in timed]
    known = [seconds for seconds in theirs if seconds]
    return min(known) / mine.graph_s if known and mine.graph_s else None


def _of_limits(row: Row, limits: Limits) -> Row:
    """Return speeds, and the share of whichever limit is the lower roof."""
    seconds, copy = row["median_s"], limits.get("copy_bytes_per_s", 0.0)
    peak = limits.get(PEAKS[row["precision"]], 0.0)
    found = {"gb_per_s": row["bytes"] / seconds / 1e9, "gflops": row["flops"] / seconds / 1e9}
    if row["backend"] in HOSTS:
        return found
    if row["bytes"] and copy:
        found["of_copy"] = row["bytes"] / copy / seconds
        found["of_copy_kept"] = (row["bytes"] + row["kept_bytes"]) / copy / seconds
    moving, computing = (row["bytes"] / copy if copy else 0.0), (row["flops"] / peak if peak else 0)
    least = max(moving, computing)
    if not least:
        return found
    lower = {"limit": "memory" if moving >= computing else "arithmetic", "limit_s": least}
    return found | lower | {"percent_of_limit": 100 * least / seconds}


def crossings(rows: Sequence[Row]) -> list[Row]:
    """Return for every op and backend the size from which the GPU is faster than the CPU.

    Once with arrays that live on the device, once with the way in and out.
    """
    found = []
    for op in dict.fromkeys(row["op"] for row in rows):
        cpu = _line(rows, op, "numba", "median_s")
        for backend in dict.fromkeys(r["backend"] for r in rows if r["backend"] not in HOSTS):
            if backend.startswith("torch") or not cpu:
                continue
            ways = {"resident": "kernel_warm_s", "end_to_end": "end_to_end_s"}
            sizes = {w: crossing(cpu, _line(rows, op, backend, k)) for w, k in ways.items()}
            if any(_line(rows, op, backend, key) for key in ways.values()):
                found.append({"op": op, "backend": backend, **sizes})
    return found


def crossing(cpu: Mapping[int, float], gpu: Mapping[int, float]) -> float | None:
    """Return the size from which the second is faster, between two sizes on a logarithmic line.

    None: at no size that both were measured at. 0: at all of them.

    >>> crossing({100: 1.0, 10000: 100.0}, {100: 10.0, 10000: 10.0})
    1000.0
    """
    sizes = sorted(cpu.keys() & gpu.keys())
    ahead = [math.log(cpu[n] / gpu[n]) for n in sizes]
    if not sizes or ahead[-1] < 0:
        return None
    behind = [i for i, a in enumerate(ahead) if a < 0]
    if not behind:
        return 0.0
    i = behind[-1]
    part = -ahead[i] / (ahead[i + 1] - ahead[i])
    return round(float(sizes[i] * (sizes[i + 1] / sizes[i]) ** part), 1)


def _line(rows: Sequence[Row], op: str, backend: str, key: str) -> dict[int, float]:
    mine = [r for r in rows if r["op"] == op and r["backend"] == backend and r[key]]
    return {r["elements"]: r[key] for r in mine}
