"""Points from a .csv file: one example a line, one coordinate a column, plain numbers.

The first line is a header if none of its cells is a number or one of them names the labels.
"""

import csv
import math
from array import array
from pathlib import Path

import numpy as np

from refgen.data import limits
from refgen.data.dataset import Dataset, dataset_of, labels_of
from refgen.data.errors import LoadError, decoding

LABELS = ("label", "target", "class")


def load_csv(path: Path) -> Dataset:
    """Load points, and labels from a column called label, target or class.

    Raises LoadError, naming the line, for cells that are not finite numbers and lines of unequal
    length.
    """
    names: list[str] = []
    values = array("d")
    with decoding(path), path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file, strict=True)
        width = 0
        for cells in lines:
            if not cells:
                continue  # a blank line
            if not width:
                width = len(cells)
                names = [c.strip() for c in cells] if _is_header(cells) else []
                if names:
                    continue
            if len(cells) != width:
                reason = f"it has {len(cells)} cells, and the first line has {width}"
                raise LoadError(path, f"line {lines.line_num}", reason, "Give all the same.")
            values.extend(_number(path, lines.line_num, cell) for cell in cells)
            if len(values) * values.itemsize > limits.MAX_BYTES:
                reason = f"its numbers need more than {limits.MAX_BYTES:,} bytes"
                raise LoadError(path, "", reason, "Save it as .npy, or as several files.")
    if not values:
        raise LoadError(path, "", "it holds no line of numbers", "Give one example a line.")
    table = np.frombuffer(values).reshape(-1, width)
    column = next((i for i, name in enumerate(names) if name.lower() in LABELS), None)
    if column is None:
        return dataset_of(path, "", table, None)
    if width == 1:
        raise LoadError(path, names[0], "there is no column besides the labels", "Add data.")
    marks = table[:, column]
    whole = (marks == np.floor(marks)).all() and np.abs(marks).max() < 2**53
    labels = labels_of(path, names[column], marks.astype(np.int64) if whole else marks, len(table))
    return dataset_of(path, "", np.delete(table, column, axis=1), labels)


def _is_header(cells: list[str]) -> bool:
    numbers = [_parse(cell) is not None for cell in cells]
    return not any(numbers) or any(cell.strip().lower() in LABELS for cell in cells)


def _number(path: Path, line: int, cell: str) -> float:
    value = _parse(cell)
    if value is None or not math.isfinite(value):
        reason = f"{cell[:40]!r} is not a finite number"
        raise LoadError(path, f"line {line}", reason, "Fill or leave out such examples.")
    return value


def _parse(cell: str) -> float | None:
    """Return a number as spelled in a file; Python's own 1_000 is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None
