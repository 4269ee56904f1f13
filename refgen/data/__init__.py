"""Data through one door: `load("digits")`, `load("toy:ring")`, `load("pictures/")`."""

import difflib
import os
from pathlib import Path

import numpy as np

from refgen.data.arrays import load_npy, load_npz
from refgen.data.dataset import Dataset, Examples
from refgen.data.demonstrations import NAMES as WORLDS
from refgen.data.demonstrations import load_demonstrations
from refgen.data.digits import load_digits
from refgen.data.errors import LoadError, NotInstalledError
from refgen.data.fashion import load_fashion
from refgen.data.idx import is_idx, load_idx
from refgen.data.images import load_folder
from refgen.data.installed import COMMANDS, load_installed
from refgen.data.scenes import load_scenes
from refgen.data.table import load_csv
from refgen.noise import Noise

__all__ = ["Dataset", "Examples", "LoadError", "NotInstalledError", "is_name", "load"]

EMBEDDED = {"digits": load_digits, "fashion": load_fashion, "scenes": load_scenes}
BY_SUFFIX = {".npy": load_npy, ".npz": load_npz, ".csv": load_csv}
TOY_POINTS = 20_000


def load(spec: str) -> Dataset:
    """Return the data set that `spec` names.

    - `digits`: 1,797 digits of 8 x 8 that come with refgen
    - `fashion`: 2,000 images of clothes, 28 x 28, that come with refgen
    - `scenes`: 5,000 scenes of one digit or two, 8 x 16, made from the digits
    - `fashion-mnist`, `mnist`: 60,000 images of 28 x 28 and the 10,000 of the test set, held out,
      where they are installed
    - `navigation`, `navigation-goals`: what an expert did there, row by row, as points
      (refgen.data.demonstrations)
    - `toy:NAME`: 20,000 points of a toy distribution (refgen.data.toys)
    - a path: IDX or gzipped IDX, .npy, .npz, .csv, or a folder of pictures

    A name goes before a path: write ./digits for a file of that name. Images become float32
    (N, H, W, C) in [-1, 1], points float32 (N, D) as they are. Raises LoadError for a spec that
    names nothing and for data that cannot be used, NotInstalledError for what is missing.

    >>> digits = load("digits")
    >>> len(digits), digits.shape, digits.levels
    (1797, (8, 8, 1), 17)
    """
    if spec in EMBEDDED:
        return EMBEDDED[spec]()
    if spec in COMMANDS:
        return load_installed(spec)
    if spec in WORLDS:
        return load_demonstrations(spec)
    if spec.startswith("toy:"):
        return _load_toy(spec)
    if not os.path.exists(spec):  # false, and not an error, for a spec that cannot be a path
        raise _unknown(spec)
    path = Path(spec)
    return load_folder(path) if path.is_dir() else _load_file(path)


def is_name(spec: str) -> bool:
    """Tell whether a spec is a name, good in any working folder, and not a path."""
    named = spec in EMBEDDED or spec in COMMANDS or spec in WORLDS
    return named or spec.startswith("toy:")


def _load_toy(spec: str) -> Dataset:
    from refgen.data.toys import NAMES, toy

    name = spec.removeprefix("toy:")
    if name not in NAMES:
        raise _unknown(spec)
    points = toy(name).sample(TOY_POINTS, Noise(0).at("toy", name))
    return Dataset(spec, points.astype(np.float32), None, "points", 0)


def _load_file(path: Path) -> Dataset:
    if not path.is_file():
        raise LoadError(path, "", "it is neither a file nor a folder", "Name one of those.")
    loader = BY_SUFFIX.get(path.suffix.lower())
    if loader is None and is_idx(path):
        loader = load_idx
    if loader is None:
        reason = "it is not of a kind that is read here"
        remedy = "Give IDX or gzipped IDX, .npy, .npz, .csv, or a folder of pictures."
        raise LoadError(path, "", reason, remedy)
    return loader(path)


def _unknown(spec: str) -> LoadError:
    from refgen.data.toys import NAMES

    known = [*EMBEDDED, *COMMANDS, *WORLDS, *(f"toy:{name}" for name in NAMES)]
    tries = [spec, f"toy:{spec}"] if spec else []
    close = [name for word in tries for name in difflib.get_close_matches(word, known, n=1)]
    guess = f"Did you mean {close[0]!r}? " if close else ""
    remedy = f"{guess}There are {', '.join(known)}, and any path to data."
    name = spec[:200] or "(an empty name)"
    return LoadError(name, "", "no data set and no file is called so", remedy)
