"""What every op in the catalogue must satisfy, whatever it computes."""

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, ops
from refgen.ops.catalog import CATALOG
from tests.duck import Duck, undress
from tests.strategies import calls, draw_like, run

pytestmark = pytest.mark.tiny
each_op = pytest.mark.parametrize("op", CATALOG, ids=lambda op: op.name)
each_with_backward = pytest.mark.parametrize(
    "op", [op for op in CATALOG if op.wrt], ids=lambda op: op.name
)


def test_every_op_of_the_table_is_in_the_catalogue():
    helpers = {"sigmoid", "softplus", "normals", "affine_coupling_inverse"}
    drawn = {f"{op.name}_drawn" for op in CATALOG}
    named = {n for op in CATALOG for n in (op.forward, f"{op.name}_backward")}
    assert set(ops.__all__) - helpers - drawn - named == set()
    assert {op.forward for op in CATALOG} <= set(ops.__all__)


@each_op
def test_an_op_stands_on_the_page_that_its_row_names(op):
    page = importlib.import_module(f"refgen.ops.{op.page}")
    assert getattr(page, op.forward) is getattr(ops, op.forward)


@each_with_backward
@given(data=st.data())
def test_backward_is_the_adjoint_of_forward(op, data):
    """<J t, dy> = <t, J^T dy>, with J t by the complex step, or by differences at kinks."""
    arrays, rng = data.draw(calls(op))
    if not op.analytic:  # stay away from the kink at 0
        arrays = {k: a + np.copysign(0.01, a) for k, a in arrays.items()}
    forward, backward = getattr(ops, op.forward), getattr(ops, f"{op.name}_backward")
    *ys, cache = forward(**arrays, **op.static)
    dys = [draw_like(rng, y) for y in ys]
    grads = backward(*dys, cache)
    grads = grads if isinstance(grads, tuple) else (grads,)
    assert [g.shape for g in grads] == [arrays[a].shape for a in op.wrt]
    tangents = [rng.normal(size=arrays[a].shape) for a in op.wrt]
    inputs = [arrays[a] for a in op.wrt]
    gaps, tangents_out = [], []
    for i in range(len(ys)):

        def output(*xs, i=i):
            return forward(**{**arrays, **dict(zip(op.wrt, xs, strict=True))}, **op.static)[i]

        if op.analytic:
            tangents_out.append(check.complex_step(output, inputs, tangents))
        else:
            d = check.central_difference(output, inputs, tangents, h=1e-4)
            gaps.append(float(np.sum(np.abs(d.noise * dys[i]))))
            tangents_out.append(d.value)
    scale = sum(float(np.sum(np.abs(t * d))) for t, d in zip(tangents_out, dys, strict=True))
    floor = 1e-12 + sum(gaps) / max(scale, 1e-300)
    assert check.adjoint_gap(tangents, grads, dys, tangents_out) < floor


@each_op
@given(data=st.data())
def test_float32_stays_float32(op, data):
    arrays, rng = data.draw(calls(op, np.float32))
    assert {a.dtype for a in run(ops, op, arrays, rng)} == {np.dtype(np.float32)}


@each_op
@given(data=st.data())
def test_the_reference_runs_on_any_array_that_dispatches(op, data):
    """A duck that refuses conversion stands for CuPy: no np.zeros(shape), no float(array)."""
    arrays, rng = data.draw(calls(op))
    seed = int(rng.integers(2**32))
    plain = run(ops, op, arrays, np.random.default_rng(seed))
    *ys, cache = (
        getattr(ops, op.forward)(**{k: Duck(a) for k, a in arrays.items()}, **op.static)
        if op.wrt
        else (*undressed_update(op, arrays), None)
    )
    results = list(ys)
    if op.wrt:
        again = np.random.default_rng(seed)
        dys = [Duck(draw_like(again, undress(y))) for y in ys]
        grads = getattr(ops, f"{op.name}_backward")(*dys, cache)
        results += grads if isinstance(grads, tuple) else [grads]
    for p, r in zip(plain, results, strict=True):
        assert np.array_equal(p, undress(r))


def undressed_update(op, arrays):
    result = getattr(ops, op.forward)(**{k: Duck(a) for k, a in arrays.items()}, **op.static)
    return result if isinstance(result, tuple) else (result,)


def test_the_duck_refuses_what_a_device_array_refuses():
    """The test above can fail: a host array made from a shape, and a silent conversion."""
    with pytest.raises(TypeError, match="mixing"):
        np.zeros(3) + Duck(np.ones(3))
    with pytest.raises(TypeError, match="implicit"):
        np.asarray(Duck(np.ones(3)))
