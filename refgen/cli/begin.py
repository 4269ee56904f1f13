"""How a training begins: a new run from flags, file and recipe, or an old one where it stopped."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from refgen.cli import settings, terms

if TYPE_CHECKING:
    from refgen.cli.settings import Plan
    from refgen.data import Dataset
    from refgen.systems import Entry
    from refgen.training import Run, State

LARGE = 4096  # a batch that no data set is too small for


def new(args: argparse.Namespace, entry: "Entry") -> "tuple[Plan, Dataset, Path]":
    """Settle a new run: flags over the config file over the recipe."""
    from refgen.data.navigation import WORLDS

    file = settings.read(args.config) if args.config else {}
    chosen = settings.check(f"--config {args.config}", file, entry)
    data = args.data or file.get("data", entry.data)
    dataset = load(data)
    own = settings.assigned(args.set, entry)
    if args.model:
        own |= settings.check(f"--model {args.model}", {"model": args.model}, entry)
    recipe = entry.recipe(dataset.kind, str((chosen | own).get("model", "")))
    if dataset.levels and settings.has(entry, "levels"):
        recipe["levels"] = dataset.levels
    if dataset.labels is not None and "classes" in recipe:
        recipe["classes"] = max(2, int(dataset.labels.max()) + 1)
    if settings.has(entry, "world") and dataset.name in WORLDS:
        recipe["world"] = dataset.name  # a policy walks where it was shown to
    flags = {key: getattr(args, key) for key in ("steps", "batch", "lr", "seed")}
    chosen = recipe | chosen | own
    chosen |= {key: value for key, value in flags.items() if value is not None}
    _refuse_batch(int(chosen.get("batch", 0)), dataset)
    backend = args.backend or file.get("backend", "auto")
    return (
        settings.plan(entry, _lasting(data), dataset.shape, backend, chosen),
        dataset,
        _folder(args, entry, data),
    )


def _refuse_batch(batch: int, dataset: "Dataset") -> None:
    """Raise Refusal for a batch that holds every example many times over: memory ends first."""
    count = len(dataset.split()[0])
    most = max(LARGE, 16 * count)
    if batch > most:
        raise terms.Refusal(
            f"--batch {batch}: {dataset.name} has {count:,} examples to learn from; take a "
            f"batch of {most:,} or fewer"
        )


def resumed(args: argparse.Namespace, entry: "Entry") -> "tuple[Plan, Dataset, Path]":
    """Go on with an existing run, whose own settings hold."""
    from refgen.training import Run, RunError

    for flag in ("model", "steps", "batch", "lr", "seed", "config", "set"):
        if getattr(args, flag) not in (None, []):
            raise terms.Refusal(
                f"--{flag} and --resume exclude each other: a run goes on with its own settings. "
                f"Drop --{flag}, or start another run with --out"
            )
    folder = _folder(args, entry, args.data or entry.data)
    with terms.refusing(RunError):
        plan = settings.plan_of(Run.open(folder))
    if plan.entry.id != entry.id:
        raise terms.Refusal(f"{folder} is a run of {plan.entry.id}, not of {entry.id}")
    if args.data and _lasting(args.data) != plan.data:
        raise terms.Refusal(
            f"{folder} is a run on {plan.data}, not on {args.data}: drop --data, or start another "
            "run with --out"
        )
    dataset = load(plan.data)
    if dataset.shape != plan.shape:
        raise terms.Refusal(
            f"{plan.data} now has examples of shape {dataset.shape}; the run in {folder} was "
            f"started on {plan.shape}. Put the old data back, or start another run with --out"
        )
    return plan, dataset, folder


def enter(args: argparse.Namespace, plan: "Plan", folder: Path) -> "tuple[Run, State | None]":
    """Return the run folder and where it stands."""
    from refgen.training import Run

    if not args.resume:
        return Run.create(folder, plan.config()), None
    record = Run.open(folder)
    state, notes = record.latest()
    for note in notes:
        terms.say(note)
    if state is None and notes:
        raise terms.Refusal(f"{folder} has no checkpoint that can be read: start another run")
    if state is None:
        terms.say(f"{folder} has no checkpoint: it starts again, at step 0")
    return record, state


def load(spec: str) -> "Dataset":
    """Return a data set that can be split. Raises Refusal, code 3 for what is not installed."""
    from refgen import data
    from refgen.data import LoadError, NotInstalledError

    with terms.refusing(LoadError), terms.refusing(NotInstalledError, terms.MISSING):
        dataset = data.load(spec)
        dataset.split()  # refuses a single example
    return dataset


def _lasting(spec: str) -> str:
    """Return a spec that still holds in another working folder."""
    from refgen.data import is_name

    return spec if is_name(spec) else str(Path(spec).resolve())


def _folder(args: argparse.Namespace, entry: "Entry", data: str) -> Path:
    if args.out == "":
        raise terms.Refusal("--out needs the name of a folder")
    slug = re.sub(r"[^\w.-]+", "-", Path(data).stem.removeprefix("toy:")).strip("-.")
    return Path(args.out or f"runs/{entry.id}-{slug}")
