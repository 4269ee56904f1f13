"""The run folder: what was asked, on what it ran, how it went, and the checkpoints.

RUN/config.toml   settings      RUN/metrics.jsonl   a row every few steps
RUN/env.json      versions      RUN/ckpt/           the last three checkpoints
RUN/samples/      pictures      RUN/LOCK            held while a process trains here
"""

import hashlib
import json
import math
import os
import platform
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import refgen
from refgen.training import checkpoint
from refgen.training.checkpoint import State
from refgen.training.files import PARTIAL, write_whole

Value = str | int | float | bool | list[int]
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # float32 bits vary with


class RunError(ValueError):
    """A run folder that cannot be used: which, why, and what to do."""


@dataclass(frozen=True)
class Run:
    """One training: a folder and its settings."""

    path: Path
    config: Mapping[str, Value]

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Value]) -> "Run":
        """Make a new run folder. Raises RunError where something already stands."""
        if (path / "config.toml").exists():
            raise RunError(
                f"{path} already holds a run, and a run is never overwritten. Continue it with "
                "--resume, or name another folder with --out."
            )
        if path.exists() and not _vacant(path):
            raise RunError(f"{path} exists and is not an empty folder. Name another with --out.")
        try:
            (path / "samples").mkdir(parents=True, exist_ok=True)
            (path / "ckpt").mkdir(exist_ok=True)
            env = json.dumps(environment(), indent=2).encode()
            write_whole(path / "env.json", lambda file: file.write(env))
            text = to_toml(config).encode()  # last: it is what makes the folder a run
            write_whole(path / "config.toml", lambda file: file.write(text))
        except OSError as error:
            raise RunError(f"{path}: cannot make a run here ({error}). Use --out.") from error
        return cls(path, config)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open an existing run. Raises RunError for a folder that is none, or a damaged config."""
        file = path / "config.toml"
        if not file.exists():
            raise RunError(
                f"{path} is not a run: it has no config.toml. `refgen train SYSTEM --out {path}` "
                "makes one."
            )
        try:
            config = tomllib.loads(file.read_text(encoding="utf-8"))
            to_toml(config)  # refuses what no run has written
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError) as error:
            raise RunError(f"{file}: not readable as a run's settings, TOML ({error})") from error
        return cls(path, config)

    @property
    def digest(self) -> str:
        """A digest of the settings, which every checkpoint carries."""
        return hashlib.sha256(to_toml(self.config).encode()).hexdigest()

    @property
    def metrics(self) -> Path:
        """The log, one JSON object a line."""
        return self.path / "metrics.jsonl"

    def save(self, state: State) -> Path:
        """Write a checkpoint, whole or not at all."""
        return checkpoint.save(self.path / "ckpt", state, self.digest)

    def latest(self) -> tuple[State | None, list[str]]:
        """Return the newest good state, None if there is none, and notes on damaged ones."""
        return checkpoint.latest(self.path / "ckpt", self.digest)

    def rows(self) -> list[dict[str, Any]]:
        """Return the log's rows; a last line that a crash cut short is left out."""
        if not self.metrics.exists():
            return []
        rows = []
        for line in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows

    def rewind(self, step: int) -> None:
        """Drop the log's rows after a step: training goes on from there and writes them again."""
        kept = [json.dumps(row) + "\n" for row in self.rows() if row["step"] <= step]
        if self.metrics.exists():
            text = "".join(kept).encode()
            write_whole(self.metrics, lambda file: file.write(text))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder while training. Raises RunError where another process holds it.

        The lock belongs to the process, not to the file: a killed run leaves none behind.
        """
        try:
            import fcntl
        except ImportError:  # not POSIX: no such lock to take
            yield
            return
        with open(self.path / "LOCK", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(f"{self.path}: another process is training here") from error
            yield


def _vacant(path: Path) -> bool:
    """Say whether a folder holds nothing, or only what a `create` that was cut short leaves."""
    if not path.is_dir():
        return False
    found = {p.name: p for p in path.iterdir() if not p.name.endswith(PARTIAL)}
    folders = [found.pop(name) for name in ("samples", "ckpt") if name in found]
    if len(folders) == 2:  # both are made before env.json is written
        found.pop("env.json", None)
    return not found and all(p.is_dir() and not any(p.iterdir()) for p in folders)


def to_toml(config: Mapping[str, Value]) -> str:
    """Return flat settings as TOML, which tomllib reads back unchanged.

    Raises TypeError for values that are not str, int, finite float, bool or a list of int, and
    for keys that TOML would want quoted.

    >>> print(to_toml({"system": "ddpm", "lr": 1e-3, "steps": 10}), end="")
    system = "ddpm"
    lr = 0.001
    steps = 10
    """
    lines = []
    for key, value in config.items():
        if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
            raise TypeError(f"{key!r} cannot be a key of a run's settings")
        if isinstance(value, str):
            # JSON's escapes are TOML's, but for DEL, which TOML wants escaped too
            text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        elif isinstance(value, bool):
            text = str(value).lower()
        elif isinstance(value, int):
            text = repr(int(value))
        elif isinstance(value, float) and math.isfinite(value):
            text = repr(float(value))  # of np.float64 too, whose own repr is no TOML
        elif isinstance(value, list | tuple) and all(type(n) is int for n in value):
            text = repr(list(value))
        else:
            raise TypeError(f"{key} = {value!r} cannot be written as TOML")
        lines.append(f"{key} = {text}\n")
    return "".join(lines)


def environment() -> dict[str, Any]:
    """Return what a result depends on: versions, the linear algebra library, the machine's kind."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return {
        "refgen": refgen.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": f"{blas.get('name', '?')} {blas.get('version', '')}".strip(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": {name: os.environ.get(name) for name in THREADS},
        "command": " ".join(["refgen", *sys.argv[1:]]),
    }
