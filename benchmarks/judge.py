"""Correctness, before any timing: the reference in float64 is right, float32 may err a little.

Each row says by which rule it was judged:

    page       |error| ≤ 4 |error of the float32 page| + 8 eps, as shares of the largest entry, or
               of 1 if that is larger; a twin must pass it
    winograd   unless it is a 3 x 3 convolution: |error| ≤ 1e-4 of the result's standard deviation
    float32    for PyTorch, which is no twin and may add up as it likes: |error| ≤ 1e-5 of the same
    steps      for whole steps, whose errors add up: gradients within 2e-5 of each tensor's largest
               entry; samples, after fifty steps, within 1e-4 of their standard deviation
    moments    for normals of another generator: mean 0 and variance 1
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import calls
from benchmarks.cases import Case
from refgen import ops
from refgen.typing import Array

EPS = float(np.finfo(np.float32).eps)
OF_STD, OF_GRADIENT, OF_SAMPLE, OF_OTHERS = 1e-4, 2e-5, 1e-4, 1e-5
RULES = ("page", "float32", "winograd", "steps", "moments")  # from strict to lenient


class Verdict(NamedTuple):
    """The error of the worst output, what it may be, and who says so."""

    error: float
    allowed: float
    rule: str

    @property
    def right(self) -> bool:
        """Whether it computes what it should; what is not a number is never right."""
        return self.error <= self.allowed


class Expected(NamedTuple):
    """What a case should give."""

    gold: list[Array]  # float64
    slack: list[float]  # four times what the float32 page errs, of the largest entry or 1


def judge(
    case: Case,
    outputs: list[Array],
    noise: Array | None,
    expected: Expected,
    *,
    twin: bool = True,
) -> Verdict:
    """Return the verdict on the output that needs the most lenient rule, and most of that.

    Raises ValueError for outputs whose number or shapes are not the reference's.
    """
    if case.op == "normals" and noise is not None:  # another generator: look at its moments
        z = np.asarray(outputs[0], np.float64)
        off = max(abs(float(z.mean())), abs(float(z.var()) - 1))
        return Verdict(off, 6 / z.size**0.5, "moments")
    shapes, wanted = [a.shape for a in outputs], [g.shape for g in expected.gold]
    if shapes != wanted:
        raise ValueError(f"results of shapes {shapes}, not {wanted}")
    verdicts = [
        _one(case, np.asarray(a), gold, slack, twin)
        for a, gold, slack in zip(outputs, expected.gold, expected.slack, strict=True)
    ]
    bad = next((v for v in verdicts if not v.right), None)
    return bad or max(verdicts, key=lambda v: (RULES.index(v.rule), v.error / v.allowed))


def expect(case: Case, noise: Array | None = None) -> Expected:
    """Return what the reference gives, from that noise where it is not refgen's."""
    if case.op == "normals" and noise is not None:
        return Expected([], [])
    if case.whole:
        from benchmarks import steps

        gold = steps.evidence(ops, case, np.float64)
        return Expected(gold, [0.0] * len(gold))
    gold, page = (_reference(case, noise, kind) for kind in (np.float64, np.float32))
    slack = [4 * _distance(p, g) / _scale(g) for p, g in zip(page, gold, strict=True)]
    return Expected([g.astype(np.float64) for g in gold], slack)


def expected_in(folder: Path, case: Case) -> Expected:
    """Return what the reference gives, from a folder where the first to ask has left it."""
    file = folder / "expected.npz"
    if not file.exists():
        found = expect(case)
        gold: dict[str, Any] = {str(i): g for i, g in enumerate(found.gold)}
        np.savez(file, slack=found.slack, **gold)
        return found
    with np.load(file) as kept:
        arrays = [kept[str(i)] for i in range(len(kept.files) - 1)]
        return Expected(arrays, kept["slack"].tolist())


def _one(case: Case, output: Array, gold: Array, slack: float, twin: bool) -> Verdict:
    """Judge one output."""
    distance = _distance(output, gold)
    if case.whole:
        sample = case.call == "sample"
        scale = float(gold.std() if sample else np.abs(gold).max(initial=0.0))
        return Verdict(distance / max(scale, 1e-30), OF_SAMPLE if sample else OF_GRADIENT, "steps")
    scale = _scale(gold)
    verdict = Verdict(distance / scale, slack + 8 * EPS, "page")
    if verdict.right:
        return verdict
    if not twin:
        return Verdict(distance / scale, OF_OTHERS, "float32")
    if not case.winograd:
        return verdict
    return Verdict(distance / scale, OF_STD * float(gold.std()) / scale, "winograd")


def _reference(case: Case, noise: Array | None, kind: type) -> list[Array]:
    """Return the outputs by the page in that precision."""
    arrays = {n: a.astype(kind) if a.dtype.kind == "f" else a for n, a in case.arrays().items()}
    if noise is None:
        return calls.outputs(calls.build(ops, case, arrays)())
    given = {n: noise.astype(kind) if n == "noise" else arrays[n] for n in case.row.shapes}
    found = calls.outputs(getattr(ops, case.row.forward)(**given, **case.keywords()))
    return [*found, given["noise"]] if case.op == "noising" else found


def _distance(a: Array, gold: Array) -> float:
    return float(np.abs(a - gold).max(initial=0.0))


def _scale(gold: Array) -> float:
    return max(1.0, float(np.abs(gold).max(initial=0.0)))
