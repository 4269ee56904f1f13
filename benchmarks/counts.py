"""What a case cannot do without: bytes read, bytes written, arithmetic. From the catalogue.

Read are the arguments and, by a backward, the gradients of the results; written are the results,
or the gradients. What a forward keeps for its backward is not counted: how much that is, is
the implementation's choice. FLOPs are those of the definition, a multiplication and an addition
each, so Winograd's algorithm may do more of them in a second than the machine can.
"""

import math
from dataclasses import dataclass

import numpy as np

from benchmarks import calls
from benchmarks.cases import Case, Shape
from refgen import ops
from refgen.ops.catalog import resolve

BYTES = 4  # of a float32
BACKWARD = {"attention": 2.5}  # what its backward costs in units of the forward; products cost 2
LINEAR = ("shift", "concat")  # backward needs no argument again
PASSED = {("shift", "x")}  # a gradient that is that of the result: nobody writes it


@dataclass(frozen=True)
class Counts:
    """Sizes of the arrays in floats, and the arithmetic."""

    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    flops: float = 0.0

    @property
    def moved(self) -> int:
        """Bytes read and written."""
        return BYTES * (sum(self.reads) + sum(self.writes))


def counts(case: Case) -> Counts:
    """Count a case of one op; whole steps are counted by who runs them."""
    if case.whole:
        return Counts()
    given, results = _sizes(case.shapes()), outputs(case)
    made, flops = tuple(math.prod(s) for s in results), _flops(case, results)
    wrt = tuple(given[a] for a in case.row.wrt if a in given and (case.op, a) not in PASSED)
    back = flops * BACKWARD.get(case.op, 2.0)
    reads = tuple(given.values())
    if case.call == "backward":
        return Counts(made if case.op in LINEAR else (*made, *reads), wrt, back)
    if case.call == "both":
        return Counts((*reads, *made), (*made, *wrt), flops + back)
    if case.call == "dgrad":
        return Counts((*made, given["w"]), (given["x"],), flops)
    if case.call == "wgrad":
        return Counts((*made, given["x"]), (given["w"], given["b"]), flops)
    return Counts(reads, made, flops)


def outputs(case: Case) -> list[Shape]:
    """Return the shapes of the results, by the page on two examples and on three.

    The axis that differs is the batch. Noise that a drawing op returns counts as a result.
    """
    if case.op == "normals":
        return [case.drawn()]
    two, three = (_shapes_of(case, n) for n in (2, 3))
    batch = case.dims["N"]
    return [
        tuple(batch if a != b else a for a, b in zip(s, t, strict=True))
        for s, t in zip(two, three, strict=True)
    ]


def _shapes_of(case: Case, batch: int) -> list[Shape]:
    dims = {**case.dims, "N": batch}
    words = {name: w for name, w in case.row.shapes.items() if name not in case.without}
    inputs = {name: np.ones(resolve(w, dims)) for name, w in words.items()}
    result = getattr(ops, case.row.forward)(**inputs, **case.keywords())
    found = [a.shape for a in calls.outputs(result)]
    if (case.op, case.call) == ("noising", "drawn"):
        found.append(inputs["noise"].shape)
    return found


def _flops(case: Case, results: list[Shape]) -> float:
    return float(case.row.flops(case.shapes(), results[0])) if case.row.flops else 0.0


def _sizes(shapes: dict[str, Shape]) -> dict[str, int]:
    return {name: math.prod(shape) for name, shape in shapes.items()}
