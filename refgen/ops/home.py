"""Where arrays live: in ordinary memory for these pages, on a device for those of a GPU.

A table of ops computes on arrays of its own place. What comes from outside, data and first
parameters, goes through `put`, and what is wanted outside, a loss or a picture, through `fetch`.
Nothing else crosses: arrays that a step makes are made from those it was given.

A page may need a constant table beside its arguments, noise levels or frequencies. `beside` sends
it across once and keeps it there.
"""

from collections import OrderedDict

import numpy as np

from refgen.typing import Array

KEPT = 32  # constants on devices

_constants: OrderedDict[tuple[type, str, tuple[int, ...], bytes], Array] = OrderedDict()


def put(a: Array) -> Array:
    """Return an array of ordinary memory where this table computes: here, as it is."""
    return a


def fetch(a: Array) -> Array:
    """Return an array of this table's place in ordinary memory: here, as it is."""
    return a


def here(a: Array) -> bool:
    """Tell whether an array lies in ordinary memory, where looking at it costs nothing.

    Indices and masks are looked at before they are used; on a device that would be a crossing at
    every step, so whoever puts them there looks first.
    """
    return isinstance(a, np.ndarray)


def beside(constant: Array, x: Array | float) -> Array:
    """Return a constant where x lives.

    >>> table = np.array([1.0, 2.0])
    >>> beside(table, np.zeros(3)) is table
    True
    """
    if isinstance(x, np.ndarray | np.generic | float | int):
        return constant
    key = type(x), constant.dtype.str, constant.shape, constant.tobytes()
    if key not in _constants:
        _constants[key] = np.asarray(constant, like=x)
        while len(_constants) > KEPT:
            _constants.popitem(last=False)
    _constants.move_to_end(key)
    return _constants[key]
