"""Every image system on clothes: 28 x 28, 1,500 of them to learn from, 500 to be judged against.

    python -m benchmarks.clothes                     # all that is missing; some five minutes each
    python -m benchmarks.clothes --system cfg        # one of them
    python -m benchmarks.clothes --table             # what has been measured

Each system is trained from seed 0 by the recipe that `refgen train ID --data fashion` runs, and
judged on the features of the judge, beside the rows of design: a Gaussian, one for each class,
copies and real clothes. A system that was measured is written down at once and not again.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.accept.measuring import commit, image_figures
from refgen.data import load
from refgen.metrics.table import format_table, image_tables
from refgen.noise import Noise
from refgen.systems import SYSTEMS, is_generative
from refgen.training.files import write_whole
from refgen.training.judge import judge_of

FOLDER = Path(__file__).parent / "results" / "clothes"
LEFT_OUT = (
    "text-cross-attention",
    "bc",
    "goal-bc",
    "diffusion-policy",
)  # not of pictures like these
NAMES = tuple(name for name, e in SYSTEMS.items() if is_generative(e.make) and name not in LEFT_OUT)  # type: ignore[arg-type]
FIGURES = ("precision", "recall", "one_nn", "copy_ratio", "frechet")


def measure(name: str) -> Path:
    """Train a system on clothes and write its figures."""
    found = image_figures(name, "fashion", seeds=(0,))
    return write(name, {figure: found[f"fashion_{figure}"] for figure in FIGURES})


def baselines() -> Path:
    """Write the rows that need no training."""
    data = load("fashion")
    rows, _ = image_tables({}, data, Noise(0), features=judge_of(data).features)
    return write("baselines", {str(row["samples"]): {f: row[f] for f in FIGURES} for row in rows})


def write(name: str, measured: dict[str, Any]) -> Path:
    """Write figures with the command that makes them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = f"python -m benchmarks.clothes --system {name}"
    document = {"schema": 1, "measured": measured, "command": command, "commit": commit()}
    path = FOLDER / f"{name}.json"
    text = json.dumps(document, indent=1) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))
    return path


def known(name: str) -> dict[str, Any] | None:
    """Return what was measured of a system, None where nothing was."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text())["measured"] if path.exists() else None


def table() -> str:
    """Return the figures of all that was measured, after the rows that need no training."""
    rows: list[dict[str, Any]] = [
        {"samples": k, **v} for k, v in (known("baselines") or {}).items()
    ]
    rows += [{"samples": name, **found} for name in NAMES if (found := known(name))]
    return format_table(rows) if rows else "nothing was measured yet"


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=("baselines", *NAMES), help="only this one")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    args = parser.parse_args()
    for name in () if args.table else (args.system,) if args.system else ("baselines", *NAMES):
        if known(name) is None:
            print(baselines() if name == "baselines" else measure(name), file=sys.stderr)
    print(table())


if __name__ == "__main__":
    main()
