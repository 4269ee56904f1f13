"""How far a form is from the truth, as one number that cannot hide another.

The built-in max passes over whatever is no number: max(0.0, nan) is 0.0. A residual made that way
would let a form through that answers with nothing at all.
"""

from typing import Any

import numpy as np


def gap(value: Any, truth: Any) -> float:
    """Return the largest difference, relative to the largest truth where that exceeds 1.

    >>> gap([1.0, 12.0], [1.0, 10.0])
    0.2
    """
    value, truth = np.asarray(value), np.asarray(truth)
    return float(np.max(np.abs(value - truth)) / np.maximum(1.0, np.max(np.abs(truth))))


def largest(*values: Any) -> float:
    """Return the largest of some numbers, nan if one of them is nan.

    >>> largest(0.0, float("nan"), 1.0)
    nan
    """
    return float(np.max(values))
