"""Which network makes the better diffusion model: MLP, UNet or DiT, on digits and on clothes.

    python -m benchmarks.networks                              # all that is missing; hours
    python -m benchmarks.networks --data digits --model unet   # one of the comparisons
    python -m benchmarks.networks --table                      # what has been measured

Every network is trained by its recipe in the registry, from three seeds, and judged as `refgen
train` judges: 500 samples against 500 held-out images, on pixels for digits and on the features
of the judge for fashion. A seed that was measured is written down at once and not measured again.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.accept.measuring import COUNT, SEEDS, commit, figures, trained
from refgen import tree
from refgen.cli.pictures import grid
from refgen.data import load
from refgen.models.denoiser import DENOISERS
from refgen.noise import Noise
from refgen.training.files import write_whole
from refgen.typing import Array

FOLDER = Path(__file__).parent / "results" / "networks"
DATA = ("digits", "fashion")
FIGURES = ("precision", "recall", "one_nn", "copy_ratio", "frechet")


def measure(data: str, model: str, seed: int) -> tuple[dict[str, Any], Array]:
    """Train one network from one seed; return its figures and its samples."""
    dataset = load(data)
    train_set, _ = dataset.split()
    system, state = trained("ddpm", train_set, seed, model=model)
    samples = system.sample(state.average, COUNT, Noise(seed).at("judge"))
    row = figures(samples, dataset)
    row |= {"seed": seed, "steps": state.step, "parameters": tree.size(state.average)}
    return row | {"commit": commit()}, samples


def file_of(data: str, model: str) -> Path:
    """Return where the rows of a network on a data set stand."""
    return FOLDER / f"{data}-{model}.json"


def known(data: str, model: str) -> list[dict[str, Any]]:
    """Return the rows that were measured."""
    path = file_of(data, model)
    return json.loads(path.read_text())["rows"] if path.exists() else []


def write(data: str, model: str, rows: list[dict[str, Any]]) -> None:
    """Write the rows of a network, sorted by seed."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": 1,
        "command": f"python -m benchmarks.networks --data {data} --model {model}",
        "data": data,
        "model": model,
        "rows": sorted(rows, key=lambda row: int(row["seed"])),
    }
    text = json.dumps(document, indent=1) + "\n"
    write_whole(file_of(data, model), lambda file: file.write(text.encode()))


def table() -> str:
    """Return medians over seeds, and for each network whether it beats the MLP by both figures."""
    lines: list[tuple[str, ...]] = [
        ("data", "model", "seeds", "precision", "recall", "|1-NN - 1/2|", "copy", "better")
    ]
    for data in DATA:
        base = known(data, "mlp")
        for model in DENOISERS:
            rows = known(data, model)
            if not rows:
                continue
            cells = [f"{median(rows, name):.3f}" for name in ("precision", "recall")]
            cells += [f"{away(rows):.3f}", f"{median(rows, 'copy_ratio'):.3f}"]
            better = ""
            if base and model != "mlp":
                more = median(rows, "recall") > median(base, "recall")
                better = "yes" if more and away(rows) < away(base) else "no"
            lines.append((data, model, str(len(rows)), *cells, better))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def median(rows: list[dict[str, Any]], name: str) -> float:
    """Return the median of one figure over seeds."""
    return statistics.median(float(row[name]) for row in rows)


def away(rows: list[dict[str, Any]]) -> float:
    """Return the median over seeds of how far the 1-NN test is from chance."""
    return statistics.median(abs(float(row["one_nn"]) - 0.5) for row in rows)


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=DATA, help="only this data set")
    parser.add_argument("--model", choices=DENOISERS, help="only this network")
    parser.add_argument("--seed", type=int, choices=SEEDS, help="only this seed")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    args = parser.parse_args()
    for data in [args.data] if args.data else DATA:
        for model in [args.model] if args.model else DENOISERS:
            for seed in [args.seed] if args.seed is not None else SEEDS:
                done = known(data, model)
                if args.table or any(row["seed"] == seed for row in done):
                    continue
                row, samples = measure(data, model, seed)
                print(json.dumps(row), file=sys.stderr)
                write(data, model, [*known(data, model), row])
                if seed == SEEDS[0]:
                    grid(samples[:64], FOLDER / f"{data}-{model}.png")
    print(table())


if __name__ == "__main__":
    main()
