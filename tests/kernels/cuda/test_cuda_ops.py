"""Every op of the catalogue that has CUDA twins: the .cu text, run on the CPU, beside float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refgen.ops.catalog import CATALOG
from refgen_kernels import cupy_cuda, numba_cpu, numba_cuda, overlay
from tests.kernels.cuda.host import compiler
from tests.kernels.cuda.machines import arranged, few
from tests.kernels.judging import assert_as_accurate
from tests.strategies import calls

TABLE = overlay(cupy_cuda)
with_twin = [op for op in CATALOG if op.forward in cupy_cuda.__all__ and op.wrt]
threads = st.sampled_from([1, 7, 32, 64, 256])
orders = st.sampled_from(["forward", "reverse", "random"])


@pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")
@pytest.mark.parametrize("op", with_twin, ids=lambda op: op.name)
@settings(max_examples=few(20), deadline=None, derandomize=True)
@given(data=st.data(), block=threads, order=orders, seed=st.integers(0, 2**31))
def test_a_cuda_twin_is_as_accurate_as_the_page(op, data, block, order, seed):
    arrays, static, _ = data.draw(calls(op, np.float32))
    with arranged(block, order, seed):
        assert_as_accurate(op.name, arrays, static, table=TABLE)


def test_both_backends_have_every_op_that_the_cpu_has():
    here = set(cupy_cuda.__all__)
    assert here == set(numba_cuda.__all__)
    assert set(numba_cpu.__all__) | {"fetch", "put", "words"} <= here
