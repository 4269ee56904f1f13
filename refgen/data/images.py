"""A folder of pictures, all of one size. Where they lie in subfolders, those name the classes.

Class k is the k-th subfolder by name. Pillow reads the files (`pip install "refgen[viz]"`).
"""

from collections import Counter
from pathlib import Path

import numpy as np

from refgen.data.dataset import Dataset, dataset_of
from refgen.data.errors import LoadError, NotInstalledError, decoding
from refgen.data.limits import admit
from refgen.typing import Array

SUFFIXES = (".png", ".ppm", ".pgm", ".jpg", ".jpeg")
FORMATS = ("PNG", "PPM", "JPEG")  # Pillow's PPM reads PGM as well
CHANNELS = {"L": 1, "RGB": 3}  # by Pillow's name of the mode


def load_folder(folder: Path) -> Dataset:
    """Load the pictures of a folder in the order of their names, grey or in colour.

    Raises LoadError that names the odd file where sizes or channels differ, for pictures that are
    not 8 bits of grey or RGB, and for damaged ones; NotInstalledError without Pillow.
    """
    try:
        from PIL import Image
    except ImportError as error:
        remedy = 'Run pip install "refgen[viz]".'
        raise NotInstalledError(folder, "", "pictures are read by Pillow", remedy) from error
    files, labels = _list(folder)
    shapes = []
    for file in files:
        with decoding(file), Image.open(file, formats=FORMATS) as picture:
            if picture.mode not in CHANNELS:
                reason = f"its pixels are of Pillow's mode {picture.mode}"
                remedy = "Convert it to 8 bits of grey or RGB, without transparency."
                raise LoadError(file, "", reason, remedy)
            shapes.append((picture.height, picture.width, CHANNELS[picture.mode]))
    usual = Counter(shapes).most_common(1)[0][0]
    for file, shape in zip(files, shapes, strict=True):
        if shape != usual:
            reason = f"it is {_spell(shape)}, and most of its folder is {_spell(usual)}"
            raise LoadError(file, "", reason, "Crop, scale or remove it.")
    whole = (len(files), *usual)
    stored = sum(file.stat().st_size for file in files)
    admit(folder, "", whole, np.uint8, held=None, stored=stored)
    raw = np.empty(whole, dtype=np.uint8)
    for i, file in enumerate(files):
        with decoding(file), Image.open(file, formats=FORMATS) as picture:
            raw[i] = np.reshape(np.asarray(picture), usual)
    return dataset_of(folder, "", raw, labels)


def _list(folder: Path) -> tuple[list[Path], Array | None]:
    """Return the pictures of a folder, or of its subfolders with the labels that these are."""
    with decoding(folder):
        own = _pictures(folder)
        classes = [p for p in sorted(folder.iterdir()) if p.is_dir() and _pictures(p)]
        files = own or [file for sub in classes for file in _pictures(sub)]
        if own and classes:
            reason = f"it holds pictures, and so does its subfolder {classes[0].name}"
            raise LoadError(folder, "", reason, "Put all of them into subfolders, or none.")
        if not files:
            reason = f"it holds no {', '.join(SUFFIXES)}, nor do its subfolders"
            raise LoadError(folder, "", reason, "Name a folder of pictures, or a file in it.")
        marks = [k for k, sub in enumerate(classes) for _ in _pictures(sub)]
        return files, np.array(marks, dtype=np.int64) if classes else None


def _pictures(folder: Path) -> list[Path]:
    found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]
    return sorted(p for p in found if not p.name.startswith("."))


def _spell(shape: tuple[int, int, int]) -> str:
    height, width, channels = shape
    return f"{height} x {width} in {'grey' if channels == 1 else 'colour'}"
