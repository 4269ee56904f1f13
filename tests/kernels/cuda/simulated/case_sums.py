"""Sums over samples, thread after thread: whole samples, pieces of one, and what is drawn."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from refgen import ops
from refgen.noise import Noise
from refgen_kernels import overlay
from refgen_kernels.device import sums
from refgen_kernels.numba_cuda import coupling, gaussian, likelihood
from tests.kernels.judging import assert_as_accurate

STREAM = Noise(3).at("simulated", "sums").stream
SUMMED = ("reparameterize_kl", "bernoulli_nll", "squared_error", "affine_coupling")
MODULES = (gaussian, likelihood, coupling)
OPS = {name: getattr(m, name) for m in MODULES for name in dir(m) if name in vars(ops)}
TABLE = overlay(SimpleNamespace(__all__=list(OPS), **OPS))


@contextmanager
def small(threads=8, tile=16, whole=4, step=None):
    """Make blocks small, and what they take; `step`: the elements of a piece taken at once."""
    before = sums.THREADS, sums.TILE, sums.WHOLE, gaussian.STEP
    sums.THREADS, sums.TILE, sums.WHOLE = threads, tile, whole
    for module in MODULES if step else ():
        module.STEP = np.int32(step)
    try:
        yield
    finally:
        sums.THREADS, sums.TILE, sums.WHOLE, kept = before
        for module in MODULES:
            module.STEP = kept


def given(name, shape):
    """Return the inputs of an op."""
    a, b, c = np.random.default_rng(1).normal(size=(3, *shape)).astype("f")
    return {
        "reparameterize": {"mu": a, "logvar": b, "noise": c},
        "reparameterize_kl": {"mu": a, "logvar": b, "noise": c},
        "bernoulli_nll": {"x": np.abs(np.tanh(a)), "logits": 10 * b},
        "squared_error": {"x": a, "target": 30 + b},
        "affine_coupling": {"x": a, "shift": b, "log_scale": c},
    }[name]


def case_whole_samples(table):
    """Add some of them in one block, and go back."""
    for name in ("reparameterize", *SUMMED):
        with small():
            assert_as_accurate(name, given(name, (5, 3)), {}, table=TABLE)


def case_pieces_of_one_sample(table):
    """Each is a block's, and their shares are added by another launch."""
    with small():
        assert sums.parts_of(2, 31).pieces == 2
        for name in SUMMED:
            assert_as_accurate(name, given(name, (2, 31)), {}, table=TABLE)


def case_pieces_of_some_tiles(table):
    """One after another, and their shares carried on."""
    x = given("squared_error", (1, 29))["x"]
    shares = np.full(2, np.nan, "f")
    with small(step=8):
        args = x, 0 * x, shares, 1, 29, 1, 2, 20
        likelihood.CU.launch("add_squares", (2,), (8,), *args)
    np.testing.assert_allclose(shares, [np.sum(x[0, :20] ** 2), np.sum(x[0, 20:] ** 2)], rtol=1e-6)


def case_draws(table):
    """Draw the noise of the page, wherever a block of 64 normals is cut."""
    for shape, start in (((3, 5), 60), ((1, 31), 7), ((0, 3), 0), ((2, 0), 0)):
        inputs = given("reparameterize_kl", shape)
        with small():
            z, kl, cache = TABLE.reparameterize_kl_drawn(
                inputs["mu"], inputs["logvar"], STREAM, start
            )
        page_z, page_kl, page_cache = ops.reparameterize_kl_drawn(
            inputs["mu"], inputs["logvar"], STREAM, start
        )
        np.testing.assert_allclose(z, page_z, rtol=2e-6, atol=2e-6)
        np.testing.assert_allclose(kl, page_kl, rtol=2e-6)
        for found, page in zip(cache, page_cache, strict=True):
            np.testing.assert_allclose(found, page, rtol=2e-6)


def case_sums_depend_on_their_own_sample(table):
    """Whatever the size of the block, and whatever else there is."""
    inputs = given("squared_error", (3, 7))
    with small():
        whole = TABLE.squared_error_forward(**inputs)[0]
    with small(threads=3):
        alone = TABLE.squared_error_forward(**{k: a[1:2] for k, a in inputs.items()})[0]
    assert alone[0].tobytes() == whole[1].tobytes()


def case_nan_comes_out(table):
    """No maximum swallows it."""
    inputs = given("bernoulli_nll", (2, 3))
    inputs["logits"][1, 2] = np.nan
    with small():
        nll, cache = TABLE.bernoulli_nll_forward(**inputs)
        _, dlogits = TABLE.bernoulli_nll_backward(np.ones(2, "f"), cache)
    assert list(np.isnan(nll)) == [False, True]
    np.testing.assert_array_equal(np.isnan(dlogits), np.isnan(inputs["logits"]))


def case_an_inverse_undoes_a_coupling(table):
    """As the page does."""
    inputs = given("affine_coupling", (3, 5))
    found = TABLE.affine_coupling_inverse(*inputs.values())
    np.testing.assert_allclose(found, ops.affine_coupling_inverse(*inputs.values()), rtol=1e-6)
