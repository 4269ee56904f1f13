"""A twin is called as its page is called."""

import inspect

import pytest

from refgen import ops
from refgen.ops.catalog import CATALOG
from refgen.ops.protocol import Ops
from refgen_kernels import cupy_cuda, numba_cpu, numba_cuda

pytestmark = pytest.mark.tiny


def parameters(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


TWINS = [(b, name) for b in (numba_cpu, cupy_cuda, numba_cuda) for name in b.__all__]


@pytest.mark.parametrize(
    ("backend", "name"), TWINS, ids=lambda part: getattr(part, "__name__", part)
)
def test_a_twin_has_the_signature_of_its_page(backend, name):
    page, twin = getattr(ops, name), getattr(backend, name)
    assert parameters(twin) == parameters(page)
    assert twin.__module__.rsplit(".", 1)[1] == page.__module__.rsplit(".", 1)[1]


def test_every_op_that_is_worth_a_kernel_has_one():
    wanted = {op.forward for op in CATALOG if op.twin}
    assert wanted <= set(numba_cpu.__all__)
    assert {name for name in ops.__all__ if name.endswith("_drawn")} <= set(numba_cpu.__all__)


def test_the_reference_has_what_the_protocol_asks_for():
    for name, method in inspect.getmembers(Ops, inspect.isfunction):
        if not name.startswith("_"):
            asked = parameters(method)[1:]  # without self
            assert asked == parameters(getattr(ops, name)), name
