"""Predictions of every kind from known data and noise, at the levels of two times."""

import pytest

from refgen.noise import Noise
from refgen.processes.parametrization import KINDS, taught
from refgen.processes.path import PATHS

each_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
each_kind = pytest.mark.parametrize("kind", KINDS)
EARLY, LATE = 0.35, 0.6


def some(path, t=LATE, s=EARLY):
    """Return levels at a time and at one before it."""
    return path.levels(t), path.levels(s)


def examples(levels, earlier, seed=0):
    """Return x and what every kind says of it, made of known data and noise."""
    data, noise = Noise(seed).normal((2, 5, 3))
    x = levels.a * data + levels.b * noise
    return x, {k: taught(k, data, noise, levels, earlier=earlier) for k in KINDS}
