"""What a case is given, drawn once for all contenders, and what it should give.

The arguments and the gradients that arrive are files in a folder, since every contender is a
process of its own. So is what float64 NumPy makes of them: of small cases whole, of large ones
where one example does not know of another, the first examples, the last and some in the middle.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import calls, judge
from benchmarks.cases import Case
from benchmarks.counts import outputs
from benchmarks.gpu.calls import build
from benchmarks.judge import Expected, Verdict
from refgen import ops
from refgen.typing import Array

WHOLE = 2**21  # numbers; cases of as many are judged whole
PART = 2**18  # numbers of each part of a larger one
BATCH = 4  # examples by which a whole step is judged
GIVEN = ("backward", "both", "dgrad", "wgrad")  # calls that gradients arrive at
DEEP = 10  # times as much in a whole step
LOOSE = {"tf32": 1.5e-3, "bf16": 1.2e-2}  # of the largest entry: factors of 11 and 8 bits


class Data(NamedTuple):
    """Arrays in ordinary memory, float32."""

    arrays: dict[str, Array]
    dys: list[Array]


class Part(NamedTuple):
    """Some examples, and what they should give."""

    start: int
    stop: int
    expected: Expected


def draw(case: Case) -> Data:
    """Draw the arguments of a case, and the gradients that arrive where they do."""
    if case.whole:
        return Data({}, [])
    dys = case.gradients(outputs(case)) if case.call in GIVEN else []
    return Data(case.arrays(), dys)


def write(folder: Path, case: Case, data: Data, parts: Sequence[Part]) -> None:
    """Leave everything in a folder."""
    for name, a in data.arrays.items():
        np.save(folder / f"argument-{name}.npy", a)
    for i, a in enumerate(data.dys):
        np.save(folder / f"gradient-{i}.npy", a)
    for i, part in enumerate(parts):
        for j, a in enumerate(part.expected.gold):
            np.save(folder / f"part-{i}-{j}.npy", a)
    about = [(p.start, p.stop, len(p.expected.gold), p.expected.slack) for p in parts]
    (folder / "case.json").write_text(json.dumps({"dys": len(data.dys), "parts": about}))


def read(folder: Path, case: Case) -> tuple[Data, list[Part]]:
    """Return what `write` left."""
    about = json.loads((folder / "case.json").read_text())
    names = () if case.whole else case.shapes()
    arrays = {name: np.load(folder / f"argument-{name}.npy") for name in names}
    dys = [np.load(folder / f"gradient-{i}.npy") for i in range(about["dys"])]
    parts = []
    for i, (start, stop, count, slack) in enumerate(about["parts"]):
        gold = [np.load(folder / f"part-{i}-{j}.npy") for j in range(count)]
        parts.append(Part(start, stop, Expected(gold, slack)))
    return Data(arrays, dys), parts


def expect(case: Case, data: Data, noise: Array | None = None) -> list[Part]:
    """Return what the pages give, from that noise where it is not refgen's."""
    if case.whole:
        return [Part(0, BATCH, judge.expect(judged(case)))]
    return [
        Part(start, stop, _expected(case, data, noise, start, stop)) for start, stop in _cut(case)
    ]


def judged(case: Case) -> Case:
    """Return the case whose results are judged: a whole step, of fewer examples."""
    if not case.whole:
        return case
    return dataclasses.replace(case, dims={**case.dims, "N": min(BATCH, case.dims["N"])})


def verdict(
    case: Case,
    found: list[Array],
    noise: Array | None,
    parts: Sequence[Part],
    *,
    twin: bool,
    precision: str = "fp32",
) -> Verdict:
    """Return the worst verdict on any part; what holds no number anywhere is wrong.

    Less precise arithmetic than float32 is judged by rules of its own, tf32 and bf16.
    """
    if not all(np.isfinite(a).all() for a in found):
        return Verdict(float("nan"), 0.0, "page")
    if case.op == "normals" and noise is not None:
        return judge.judge(case, found, noise, Expected([], []))
    said = []
    for part in parts:
        where = slice(part.start, part.stop) if len(parts) > 1 else slice(None)
        mine = [a[where] for a in found]
        one = judge.judge(judged(case), mine, None, part.expected, twin=twin)
        if precision != "fp32":
            one = _loosely(case, mine, part.expected.gold, precision)
        said.append(one)
    wrong = next((v for v in said if not v.right), None)
    return wrong or max(said, key=lambda v: v.error / v.allowed)


def _cut(case: Case) -> list[tuple[int, int]]:
    """Return the examples that are judged, from and to."""
    total = int(case.dims["N"])
    each = max(1, case.elements // max(total, 1))
    count = -(-PART // each)
    if case.elements <= WHOLE or 3 * count >= total or not _alone(case):
        return [(0, total)]
    middle = total // 2
    return [(0, count), (middle, middle + count), (total - count, total)]


def _alone(case: Case) -> bool:
    """Tell whether an example's results are its own; gradients of weights are everybody's."""
    if case.op == "normals":
        return True
    if case.op == "batch_norm":
        return False
    wrt = ("x",) if case.call == "dgrad" else case.row.wrt
    return case.call not in GIVEN or all(case.row.shapes[name].startswith("N") for name in wrt)


def _expected(case: Case, data: Data, noise: Array | None, start: int, stop: int) -> Expected:
    """Return what some examples should give."""
    if case.op == "normals" and noise is not None:
        return Expected([], [])
    gold, page = (_by_page(case, data, noise, start, stop, k) for k in (np.float64, np.float32))
    slack = [4 * _distance(p, g) / _scale(g) for p, g in zip(page, gold, strict=True)]
    return Expected([g.astype(np.float64) for g in gold], slack)


def _by_page(
    case: Case, data: Data, noise: Array | None, start: int, stop: int, kind: type
) -> list[Array]:
    """Return the results of some examples by the reference in that precision."""
    few = dataclasses.replace(case, dims={**case.dims, "N": stop - start})
    shapes: dict[str, Any] = {} if case.op == "normals" else dict(case.row.shapes)

    def cut(name: str, a: Array) -> Array:
        mine = a[start:stop] if shapes.get(name, "N").startswith("N") else a
        return mine.astype(kind) if a.dtype.kind == "f" else mine

    arrays = {name: cut(name, a) for name, a in data.arrays.items()}
    dys = [cut("", dy) for dy in data.dys]
    if noise is None:
        skipped = start * int(np.prod(case.drawn()[1:], dtype=np.int64))
        return calls.outputs(build(ops, few, arrays, dys, skipped)())
    given = {n: cut("", noise) if n == "noise" else arrays[n] for n in case.row.shapes}
    found = calls.outputs(getattr(ops, case.row.forward)(**given, **case.keywords()))
    return [*found, given["noise"]] if case.op == "noising" else found


def _loosely(case: Case, found: list[Array], gold: list[Array], precision: str) -> Verdict:
    """Judge arithmetic of few bits; in a whole step errors pass through many layers."""
    pairs = [(_distance(a, g), g) for a, g in zip(found, gold, strict=True)]
    if not case.whole:
        return Verdict(max(d / _scale(g) for d, g in pairs), LOOSE[precision], precision)
    error = max(d / max(float(np.abs(g).max(initial=0.0)), 1e-30) for d, g in pairs)
    return Verdict(error, DEEP * LOOSE[precision], precision)


def _distance(a: Array, gold: Array) -> float:
    return float(np.abs(a - gold).max(initial=0.0))


def _scale(gold: Array) -> float:
    return max(1.0, float(np.abs(gold).max(initial=0.0)))
