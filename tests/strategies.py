"""Hypothesis draws the sizes, the offset and a seed; NumPy fills the arrays.

A failure therefore shrinks to a small shape with a printed seed, and drawing stays cheap.
"""

import numpy as np
from hypothesis import strategies as st

from refgen.ops.catalog import Op

sides = st.integers(1, 4)
zero = st.just(0.0)


@st.composite
def calls(draw, op: Op, dtype=np.float64, offsets=zero):
    """Return (arrays, static, rng) for one valid call of op; the arrays are read-only."""
    dims = {
        w.lstrip("*"): tuple(draw(st.lists(sides, max_size=2))) if w[0] == "*" else draw(sides)
        for w in op.letters()
    }
    dims = op.constrain(dims)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    offset = draw(offsets)
    arrays = {}
    for name, a in op.arrays(dims, rng).items():
        real = a.dtype.kind == "f"
        arrays[name] = (a + offset if name not in op.draw else a).astype(dtype) if real else a
        arrays[name].setflags(write=False)  # an op that writes to its inputs fails here
    return arrays, op.keywords(dims), rng


def run(table, op: Op, arrays, static, rng):
    """Return every output of op and, where it has a backward, every gradient."""
    result = getattr(table, op.forward)(**arrays, **static)
    if not op.wrt:
        return result if isinstance(result, tuple) else (result,)
    *ys, cache = result
    grads = getattr(table, f"{op.name}_backward")(*(draw_like(rng, y) for y in ys), cache)
    return (*ys, *(grads if isinstance(grads, tuple) else (grads,)))


def draw_like(rng, y):
    """Draw a gradient for an output."""
    return rng.normal(size=np.shape(y)).astype(y.dtype)
