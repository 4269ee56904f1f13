"""The long evidence: train each system as a user would and measure what it is accepted by.

    python -m benchmarks --accept ddpm        # minutes; writes benchmarks/results/accept/ddpm.json

Every figure is a median over three seeds unless its name says otherwise. No weights are kept. A
module for each family, as in refgen/systems/entries; MEASURE says how, BARS what is asked.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.accept import (
    adversarial,
    conditioning,
    diffusion,
    energy,
    few_steps,
    flows,
    guidance,
    imitation,
    judging,
    latent,
    score,
)
from benchmarks.accept.measuring import Bars, Measured, commit
from refgen.systems import SYSTEMS
from refgen.training.files import write_whole

FOLDER = Path(__file__).parents[1] / "results" / "accept"
FAMILIES = (
    latent,
    adversarial,
    diffusion,
    score,
    guidance,
    conditioning,
    few_steps,
    energy,
    flows,
    imitation,
    judging,
)
ACCEPT: dict[str, Callable[[], Measured]] = {k: v for f in FAMILIES for k, v in f.MEASURE.items()}
BARS: dict[str, Bars] = {k: v for f in FAMILIES for k, v in f.BARS.items()}


def short(name: str, measured: Mapping[str, float | list[float]]) -> dict[str, float]:
    """Return the figures that miss their bar, with what they are."""
    missed = {}
    for figure, (way, limit) in BARS[name].items():
        value = measured[figure]
        assert isinstance(value, float | int), figure
        meets = {">=": value >= limit, "<=": value <= limit, "within": abs(value) <= limit}
        if not meets[way]:
            missed[figure] = float(value)
    return missed


def accept(name: str) -> Path:
    """Measure a system and write its evidence. Raises KeyError for a name without a measurement."""
    return write(name, ACCEPT[name](), commit())


def write(name: str, measured: Mapping[str, Any], commit: str | None) -> Path:
    """Write what was measured at a commit, with what is asked."""
    document = {
        "bar": SYSTEMS[name].bar,
        "bars": {figure: list(bar) for figure, bar in BARS[name].items()},
        "measured": measured,
        "command": f"python -m benchmarks --accept {name}",
        "commit": commit,
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    path, text = FOLDER / f"{name}.json", json.dumps(document, indent=1) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))
    return path
