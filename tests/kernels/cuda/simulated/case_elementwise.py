"""Steps, Adam, joins and activations, thread after thread."""

import numpy as np
import pytest

from refgen import ops
from refgen.noise import Noise
from refgen.ops.join import ShiftCache
from refgen_kernels.device import join
from tests.kernels.judging import same_bits

STREAM = Noise(5).at("simulated").stream
LEVELS = {"alpha": 0.9, "alpha_bar": 0.4, "sigma": 0.3}
RNG = np.random.default_rng(0)


def case_steps_drawn(table):
    """Two arrays and noise, three and noise, and no noise."""
    x, y, z = RNG.normal(size=(3, 21)).astype("f")
    for static in (LEVELS, {**LEVELS, "sigma": 0.0}):
        found = table.ddpm_step_drawn(x, y, STREAM, 7, **static)
        page = ops.ddpm_step_drawn(x, y, STREAM, 7, **static)
        np.testing.assert_allclose(found, page, rtol=1e-5, atol=1e-6)
    guided = {"guidance": 2.5, **LEVELS}
    found = table.guided_ddpm_step_drawn(x, y, z, STREAM, 60, **guided)
    page = ops.guided_ddpm_step_drawn(x, y, z, STREAM, 60, **guided)
    np.testing.assert_allclose(found, page, rtol=1e-5, atol=1e-6)
    nothing = 0 * x
    found = table.langevin_step_drawn(nothing, nothing, STREAM, 3, step=0.5)
    assert same_bits(found, ops.normals(STREAM, 3, 21))


def case_adam(table):
    """One step from a state, the first one, and one without a gradient."""
    p, g, m, v, average = RNG.normal(size=(5, 11)).astype("f")
    g[:4] = 0
    static = {"lr": 0.01, "decay": 0.9}
    for given, k in (((p, g, m, v * v, average), 3), ((p, g, 0 * m, 0 * v, p), 1)):
        found, page = (t.adam_ema_step(*given, step=k, **static) for t in (table, ops))
        for f, q in zip(found, page, strict=True):
            np.testing.assert_allclose(f, q, rtol=1e-5, atol=1e-6)


def case_sums_over_pixels(table):
    """Columns of four channels and of one, several tiles, several pieces, and no pixels."""
    for shape in ((2, 5, 8), (1, 3, 2, 3), (1, 2, 20), (1, 9, 5), (2, 0, 3)):
        dy = RNG.normal(size=shape).astype("f")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(join, "THREADS", 4)
            patch.setattr(join, "IN_A_ROW", 2)
            _, dv = table.shift_backward(dy, ShiftCache())
        exact = np.sum(dy, axis=tuple(range(1, dy.ndim - 1)), dtype=float)
        np.testing.assert_allclose(dv, exact, rtol=1e-6, atol=1e-6)


def case_joins(table):
    """Numbers are moved, not changed."""
    x, w = RNG.normal(size=(2, 3, 4)).astype("f"), RNG.normal(size=(2, 3, 3)).astype("f")
    y, cache = table.concat_forward(x, w)
    assert same_bits(y, np.concatenate([x, w], axis=-1))
    parts = table.concat_backward(y, cache)
    assert all(same_bits(a, b) for a, b in zip(parts, (x, w), strict=True))
    assert same_bits(table.shift_forward(x, x[:, 0])[0], x + x[:, :1])
    assert same_bits(table.add(x, x), x + x)


def case_activations_of_what_is_not_a_number(table):
    """Keep it."""
    x = np.array([np.nan, -1, 0, 2, np.nan], "f")
    for name in ("silu", "relu"):
        found, page = (getattr(t, f"{name}_forward")(x)[0] for t in (table, ops))
        np.testing.assert_allclose(found, page, rtol=1e-6)
