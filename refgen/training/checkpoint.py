"""Checkpoints: one npz a step, written whole, with a digest of every array; no pickle.

A checkpoint holds the flattened trees of a State and one member `manifest`, JSON bytes:
{"schema": 1, "step": ..., "config": digest of the settings, "arrays": {name: sha256}}.
"""

import hashlib
import json
import operator
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from refgen import tree
from refgen.training.files import sweep, write_whole
from refgen.typing import Array, Params

SCHEMA = 1
KEPT = 3  # checkpoints of one run


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: which file, why, and what to do."""


@dataclass(frozen=True)
class State:
    """Everything that training carries from step to step; the rest is re-derived from addresses."""

    step: int  # steps done
    params: Params  # {player: tree}
    moments: Params  # {player: {"m", "v", "average"}}

    @property
    def average(self) -> Params:
        """The moving average of the parameters, {player: tree}: what samples are drawn with."""
        return {player: both["average"] for player, both in self.moments.items()}


def save(folder: Path, state: State, config: str) -> Path:
    """Write folder/step-000500.npz; drop all but the last three up to it. Raises OSError."""
    arrays = tree.flatten({"params": state.params, "moments": state.moments})
    manifest = {
        "schema": SCHEMA,
        "step": state.step,
        "config": config,
        "arrays": {name: _digest(a) for name, a in arrays.items()},
    }
    text = np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8)

    def write(file: IO[bytes]) -> None:
        np.savez(file, allow_pickle=False, manifest=text, **arrays)

    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    path = folder / f"step-{state.step:06d}.npz"
    write_whole(path, write)
    known = steps(folder)
    for old in known[: known.index(path) + 1][:-KEPT]:  # later ones never crowd out this one
        old.unlink(missing_ok=True)
    return path


def load(path: Path, config: str | None = None) -> State:
    """Read a checkpoint and verify every digest.

    Raises CheckpointError for a file that is missing, damaged, of another schema, or (when config
    is given) of a run with other settings.
    """
    manifest, arrays = _read(path)
    if manifest.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path}: schema {manifest.get('schema')} is not {SCHEMA}, which this version reads"
        )
    try:
        step, written = operator.index(manifest["step"]), manifest["config"]
        expected, trees = dict(manifest["arrays"]), _trees(arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{path}: its manifest or its members are malformed ({error!r}). Remove the file."
        raise CheckpointError(reason) from error
    if config is not None and written != config:
        raise CheckpointError(
            f"{path}: written with other settings than the run's config.toml now has. "
            "Undo the change, or start a new run with --out."
        )
    if arrays.keys() != expected.keys():
        odd = sorted(arrays.keys() ^ expected.keys())
        raise CheckpointError(f"{path}: members {odd[:3]} are missing or foreign. Remove the file.")
    for name, a in arrays.items():
        if _digest(a) != expected[name]:
            raise CheckpointError(f"{path}: {name} does not match its digest. Remove the file.")
    return State(step, *trees)


def latest(folder: Path, config: str | None = None) -> tuple[State | None, list[str]]:
    """Return the newest state that can be read, and a note for each newer one that cannot."""
    notes: list[str] = []
    for path in reversed(steps(folder)):
        try:
            return load(path, config), notes
        except CheckpointError as error:
            notes.append(str(error))
    return None, notes


def steps(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step-*.npz"), key=lambda p: (len(p.name), p.name))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the manifest and the arrays of a file that may hold anything."""
    try:
        with open(path, "rb") as raw:
            with zipfile.ZipFile(raw) as archive:
                if any(m.compress_type != zipfile.ZIP_STORED for m in archive.infolist()):
                    raise ValueError("a member is compressed, which no checkpoint is")
            raw.seek(0)
            with np.load(raw, allow_pickle=False) as file:
                manifest = json.loads(bytes(file["manifest"]).decode())
                arrays = {name: file[name] for name in file.files if name != "manifest"}
        if not isinstance(manifest, dict):
            raise ValueError("its manifest is not a JSON object")
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: there is no such checkpoint") from error
    except Exception as error:  # a flipped bit reaches every complaint of zipfile and of np.load
        reason = f"{path}: not a readable checkpoint ({error}). Remove it; an older one serves."
        raise CheckpointError(reason) from error
    return manifest, arrays


def _trees(arrays: dict[str, Array]) -> tuple[Any, Any]:
    """Return (params, moments) of flattened members."""
    trees = tree.unflatten(arrays)
    return trees["params"], trees["moments"]


def _digest(a: Array) -> str:
    head = f"{a.dtype.str}{a.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(a).tobytes()).hexdigest()
