"""Products, thread after thread: several tiles, stages, phases and parts."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from refgen import ops
from refgen_kernels import overlay
from refgen_kernels.device import products as plans
from refgen_kernels.numba_cuda import conv, dense, dense_act, products, upsample_conv
from tests.kernels.judging import assert_as_accurate

MODULES = (conv, upsample_conv, dense, dense_act)
OPS = {name: getattr(m, name) for m in MODULES for name in dir(m) if name in vars(ops)}
TABLE = overlay(SimpleNamespace(__all__=list(OPS), **OPS))


@contextmanager
def in_parts():
    """Let nothing speak against cutting the depth."""
    names = ("LAUNCH", "ADDING", "SHORTEST", "ROWS")
    before = [getattr(plans, name) for name in names]
    for name, value in zip(names, (0, 0, 1, 3), strict=True):
        setattr(plans, name, value)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(plans, name, value)


def given(**shapes):
    """Return arrays of these shapes."""
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}


def case_convolution(table):
    inputs = given(x=(1, 3, 3, 3), w=(2, 3, 3, 5), b=(5,))
    assert_as_accurate("conv2d", inputs, {"padding": (0, 1)}, table=TABLE)


def case_convolution_of_a_stride_in_parts(table):
    inputs = given(x=(2, 3, 2, 2), w=(3, 2, 2, 3), b=(3,))
    with in_parts():
        assert_as_accurate("conv2d", inputs, {"stride": (2, 1), "padding": 1}, table=TABLE)


def case_transposed_convolution(table):
    inputs = given(x=(1, 2, 3, 2), w=(3, 2, 3, 2), b=(3,))
    static = {"stride": 2, "padding": (1, 0), "output_padding": 1}
    assert_as_accurate("conv_transpose2d", inputs, static, table=TABLE)


def case_filter_smaller_than_its_stride(table):
    inputs = given(x=(1, 2, 2, 2), w=(1, 1, 3, 2), b=(3,))
    assert_as_accurate("conv_transpose2d", inputs, {"stride": 2}, table=TABLE)


def case_enlarged_convolution(table):
    for kernel, padding in (((3, 2), 1), ((1, 1), 1)):
        inputs = given(x=(1, 1, 2, 2), w=(*kernel, 2, 3), b=(3,))
        assert_as_accurate("upsample_conv2d", inputs, {"padding": padding}, table=TABLE)


def case_dense(table):
    assert_as_accurate("dense", given(x=(3, 2, 3), w=(3, 5), b=(5,)), {}, table=TABLE)
    with in_parts():
        assert_as_accurate("dense", given(x=(5, 7), w=(7, 2), b=(2,)), {}, table=TABLE)


def case_dense_with_activation(table):
    inputs = given(x=(3, 4), w=(4, 2), b=(2,))
    assert_as_accurate("dense_act", inputs, {"activation": "silu"}, table=TABLE)


def case_nothing(table):
    inputs = given(x=(0, 2, 2, 2), w=(2, 1, 2, 3), b=(3,))
    assert_as_accurate("conv2d", inputs, {}, table=TABLE)


def case_threads_share_all_work_of_a_block(table):
    assert products.THREADS % products.DEPTH == products.THREADS % products.TILE == 0
