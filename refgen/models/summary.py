"""What a network is made of, as a table: every op with parameters or products, in order.

The network runs once with a table of ops that writes down what passes through it. A row is
named after the parameters that the op was given. FLOPs are those of one example, with an
addition and a multiplication counted as two; only products with filters and among tokens are
counted, which is where nearly all of the work is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, NamedTuple

from refgen import tree
from refgen.ops.catalog import CATALOG
from refgen.ops.protocol import Ops

UNLISTED = ("activation", "join")  # pages of ops that have no parameters and do hardly any work
ROWS = {op.forward: op for op in CATALOG if op.page not in UNLISTED}


class Row(NamedTuple):
    """One call of an op."""

    name: str  # of the parameters that it was given, "" for none
    op: str
    shape: tuple[int, ...]  # of its first result
    parameters: int
    flops: int


@dataclass
class Recorder:
    """A table of ops that writes down every forward call."""

    table: Ops
    params: Any
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        leaves = tree.flatten(self.params)
        self._names = {id(a): path for path, a in leaves.items()}
        self._left: dict[str, int] = {}  # numbers in each branch that no row has shown
        for path, a in leaves.items():
            branch = path.rpartition("/")[0]
            self._left[branch] = self._left.get(branch, 0) + int(a.size)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        run: Callable[..., Any] = getattr(self.table, name)
        if name not in ROWS:
            return run

        def recorded(*args: Any, **static: Any) -> Any:
            result = run(*args, **static)
            self._write(name, args, result[0])
            return result

        return recorded

    def _write(self, name: str, args: tuple[Any, ...], y: Any) -> None:
        op = ROWS[name]
        arrays = [a for a in args if a is not None]
        paths = [self._names[id(a)] for a in arrays if id(a) in self._names]
        shapes = {word: a.shape for word, a in zip(op.shapes, arrays, strict=False)}
        work = op.flops(shapes, y.shape) if op.flops else 0
        where = paths[0].rpartition("/")[0] if paths else ""
        count = self._left.pop(where, 0) if paths else 0
        self.rows.append(Row(where, op.name, y.shape, count, work))


def rows(model: Any, params: Any, *inputs: Any, **conditions: Any) -> list[Row]:
    """Return the rows of one forward pass."""
    recorder = Recorder(model.ops if hasattr(model, "ops") else _first_table(model), params)
    _with_table(model, recorder).forward(params, *inputs, **conditions)
    return recorder.rows


def summarize(model: Any, params: Any, *inputs: Any, **conditions: Any) -> str:
    """Return the table of a network applied to one example, with its totals.

    >>> import numpy as np
    >>> from refgen.models import mlp
    >>> from refgen.noise import Noise
    >>> net = mlp((2, 8, 1))
    >>> print(summarize(net, net.init(Noise(0)), np.zeros((1, 2))))
    layer   op     output  parameters  FLOPs
    dense0  dense  8               24     32
    dense1  dense  1                9     16
    total                          33     48
    """
    found = rows(model, params, *inputs, **conditions)
    lines = [("layer", "op", "output", "parameters", "FLOPs")]
    for row in found:
        size = " x ".join(map(str, row.shape[1:]))
        lines.append((row.name, row.op, size, _count(row.parameters), _count(row.flops)))
    work = sum(row.flops for row in found)
    lines.append(("total", "", "", _count(tree.size(params)), _count(work)))
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < 3 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _count(n: int) -> str:
    return f"{n:,}" if n else "."


def _with_table(spec: Any, table: Any) -> Any:
    """Return a frozen spec in which every table of ops is replaced, however deep."""
    if isinstance(spec, tuple):
        made = [_with_table(part, table) for part in spec]
        return type(spec)(*made) if hasattr(spec, "_fields") else tuple(made)
    if not is_dataclass(spec) or isinstance(spec, type):
        return spec
    changed = {
        f.name: table if f.name == "ops" else _with_table(getattr(spec, f.name), table)
        for f in fields(spec)
        if f.init
    }
    return replace(spec, **changed)


def _first_table(spec: Any) -> Any:
    """Return the table of the first layer that has one, else the reference."""
    from refgen import ops

    if is_dataclass(spec) and not isinstance(spec, type):
        names = {f.name for f in fields(spec)}
        return spec.ops if "ops" in names else _first_table(tuple(vars(spec).values()))  # type: ignore[attr-defined]
    if isinstance(spec, tuple):
        tables = [_first_table(part) for part in spec]
        return next((t for t in tables if t is not ops), ops)
    return ops
