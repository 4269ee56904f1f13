"""`refgen systems`: every system, what it is accepted by, and whether it works here and now."""

import argparse
import json
import shutil
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import refgen
from refgen.cli import terms

if TYPE_CHECKING:
    from refgen.data import Dataset
    from refgen.noise import Noise
    from refgen.systems import Entry

EXAMPLE = """
refgen systems
refgen systems --json -
"""
STEPS, BATCH, COUNT = 20, 16, 4
SIGNS = {">=": "≥", "<=": "≤"}
TINY = {"hidden": 16, "T": 10, "layers": 2}  # settings, where a system has them


def add(commands: terms.Commands) -> None:
    """Declare the command."""
    about = "list the systems; each is trained for 20 steps to see that it works"
    p = terms.command(commands, "systems", run, about, EXAMPLE)
    p.add_argument("--json", metavar="FILE|-", type=terms.json_target, help="write the list")


def run(args: argparse.Namespace) -> int:
    """Print the table; 1 unless every system works."""
    from refgen.systems import SYSTEMS

    rows = []
    for entry in SYSTEMS.values():
        rows.append(
            {
                "id": entry.id,
                "name": entry.name,
                "family": entry.family,
                "lectures": list(entry.lectures),
                "works": works(entry),
                "acceptance": acceptance(entry),
            }
        )
    if args.json != "-":
        print(_table(rows))
    if args.json:
        terms.write_json({"systems": rows}, args.json)
    return terms.OK if all(row["works"] for row in rows) else terms.FAILED


def works(entry: "Entry") -> bool:
    """Say whether 20 steps on tiny settings, and then samples where it draws any, are finite."""
    import numpy as np

    from refgen.noise import Noise
    from refgen.systems import build, draw, is_generative
    from refgen.training import NumericFailure, Recipe, train

    noise, own = Noise(0).at("works"), {f.name for f in fields(entry.make)}  # type: ignore[arg-type]
    dataset = few(entry, noise.at("data"))
    try:
        system = build(entry.id, dataset.shape, {k: v for k, v in TINY.items() if k in own})
        state = train(system, dataset, Recipe(STEPS, BATCH))
        if not is_generative(system):
            return True  # training itself refuses what is not finite
        samples = draw(system, state.average, COUNT, noise.at("sample"))
    except (NumericFailure, ValueError):
        return False
    return bool(np.all(np.isfinite(samples)))


def few(entry: "Entry", noise: "Noise") -> "Dataset":
    """Return 64 examples that a system can learn from: pictures, or for a policy demonstrations."""
    import numpy as np

    from refgen.data import Dataset, load
    from refgen.systems.policy import is_acting

    if is_acting(entry.make):
        return Dataset("works", load(entry.data).data[:64], None, "points", 0)
    data = np.tanh(noise.normal((64, 4, 4, 1), dtype=np.float32))
    return Dataset("works", data, np.arange(64) % 2, "images", 0)


def acceptance(entry: "Entry") -> dict[str, Any]:
    """Return the bar of a system, and how it was met where the evidence lies in the repository."""
    command = f"python -m benchmarks --accept {entry.id}"
    empty: dict[str, Any] = {"bars": {}, "measured": None, "commit": None}
    evidence: dict[str, Any] = {"bar": entry.bar, "command": command, **empty}
    accept = Path(refgen.__file__).parents[1] / "benchmarks" / "results" / "accept"
    try:
        found = json.loads((accept / f"{entry.id}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return evidence
    if found.get("bar") != entry.bar:
        return evidence  # it was another bar that was met
    return evidence | {key: found[key] for key in empty if key in found}


def _table(rows: list[dict[str, Any]]) -> str:
    """Return a line for each system and, folded below it, what is asked of it and what it shows."""
    lines = []
    for row in rows:
        works = terms.paint("yes", "green") if row["works"] else terms.paint("NO", "red")
        given = ", ".join(f"L{n}" for n in row["lectures"])
        lines.append([row["id"], row["family"], given, works])
    head, *body = terms.table(["id", "family", "lectures", "works"], lines).splitlines()
    text = [head]
    for line, row in zip(body, rows, strict=True):
        text += [line, *_folded("asked", row["acceptance"]["bar"])]
        said = row["acceptance"]
        if said["measured"] is None:
            text += _folded("measured", f"not yet: {said['command']}")
        else:
            shown = (
                f"{name} {_figure(said['measured'][name])} ({SIGNS.get(way, way)} {limit:g})"
                for name, (way, limit) in said["bars"].items()
            )
            text += _folded("measured", ", ".join(shown))
            text += _folded("by", said["command"])
    return "\n".join(text)


def _folded(title: str, text: str) -> list[str]:
    """Return the text after a title, no wider than the terminal."""
    width = max(40, shutil.get_terminal_size((100, 24)).columns)
    first, more = f"  {title:<10}", " " * 12
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=more)


def _figure(value: Any) -> str:
    """Return a number, or several, in three digits.

    >>> _figure(0.026770), _figure([8.0, 7.0])
    ('0.0268', '8 7')
    """
    return " ".join(map(_figure, value)) if isinstance(value, list) else f"{value:.3g}"
