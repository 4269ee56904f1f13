"""What the derivation doctor found, as a table for a reader and as JSON for a program."""

import json
import math
from collections import Counter
from dataclasses import dataclass

SCHEMA = 1
AGREES = "agrees"
INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Parameter:
    """The verdict on one array of the gradient.

    Errors are relative to the largest entry of the array. They are infinite, and the worst
    index empty, where there was nothing to compare.
    """

    name: str  # "outer/inner", as tree.flatten writes it
    shape: tuple[int, ...]
    verdict: str
    max_rel_error: float
    floor: float  # relative error below which nothing can be said here
    worst_index: tuple[int, ...]
    causes: tuple[str, ...] = ()  # plain words, the likeliest first
    tested: int = 0  # entries compared one by one
    yours: float = math.nan  # the worst entry
    numeric: float = math.nan

    @property
    def ok(self) -> bool:
        """True where your gradient agrees with the numerical one."""
        return self.verdict == AGREES

    def lines(self) -> list[str]:
        """Return what stands below this parameter's row of the table."""
        out = []
        judged = not self.ok and self.verdict != INCONCLUSIVE
        if judged and not math.isnan(self.numeric):
            where = f"{self.name}[{', '.join(map(str, self.worst_index))}]"
            where = where if self.worst_index else self.name
            entry = f"yours {self.yours:.6g}   numeric {self.numeric:.6g}"
            out.append(f"    worst entry {where}: {entry}")
        return out + [f"    -> {cause}" for cause in self.causes]


@dataclass(frozen=True)
class Report:
    """The verdicts on a derivation, one for each array; print it."""

    parameters: tuple[Parameter, ...]
    method: str = ""  # how the numerical gradient was found

    @property
    def ok(self) -> bool:
        """True where every parameter agrees."""
        return all(p.ok for p in self.parameters)

    def __str__(self) -> str:
        head = ("parameter", "shape", "tested", "max rel error", "floor", "verdict")
        rows = [
            (
                p.name,
                str(p.shape),
                str(p.tested),
                f"{p.max_rel_error:.1e}",
                f"{p.floor:.0e}",
                p.verdict if p.ok else p.verdict.upper(),
            )
            for p in self.parameters
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

        def line(row: tuple[str, ...]) -> str:
            cells = (cell.ljust(w) for cell, w in zip(row, widths, strict=True))
            return "  ".join(cells).rstrip()

        out = [line(head)]
        for row, parameter in zip(rows, self.parameters, strict=True):
            out += [line(row), *parameter.lines()]
        return "\n".join([*out, *self._advice(), self._summary()])

    def _advice(self) -> list[str]:
        unnamed = [p.name for p in self.parameters if p.verdict == "wrong"]
        good = [p.name for p in self.parameters if p.ok]
        if not (unnamed and good):
            return []
        return [
            f"right: {', '.join(good)}. Follow your backward pass from these to the first array "
            "that is not: the slip lies between."
        ]

    def _summary(self) -> str:
        count = Counter(p.verdict for p in self.parameters)
        wrong = len(self.parameters) - count[AGREES] - count[INCONCLUSIVE]
        parts = [f"{count[AGREES]} agree", f"{wrong} wrong"]
        if count[INCONCLUSIVE]:
            parts.append(f"{count[INCONCLUSIVE]} inconclusive")
        by = f", judged by {self.method} in float64" if self.method else ""
        noun = "parameter" if len(self.parameters) == 1 else "parameters"
        return f"{len(self.parameters)} {noun}: {', '.join(parts)}{by}"

    def to_json(self) -> str:
        """Return one JSON document; a number that is not finite is null."""
        keys = ("name", "shape", "verdict", "max_rel_error", "floor", "worst_index", "causes")
        rows = [{key: _plain(getattr(p, key)) for key in keys} for p in self.parameters]
        return json.dumps({"schema": SCHEMA, "ok": self.ok, "parameters": rows})

    def raise_if_wrong(self) -> None:
        """Raise AssertionError with the table unless every parameter agrees."""
        if not self.ok:
            raise AssertionError(f"the derivation does not hold\n{self}")


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
