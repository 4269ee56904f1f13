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
SECOND_ORDER = ("tangent", "curvature")
each_op = pytest.mark.parametrize("op", CATALOG, ids=lambda op: op.name)
each_with_backward = pytest.mark.parametrize(
    "op", [op for op in CATALOG if op.wrt], ids=lambda op: op.name
)


def test_every_op_of_the_table_is_in_the_catalogue():
    helpers = {"sigmoid", "softplus", "fetch", "put", "normals", "words", "affine_coupling_inverse"}
    drawn = {f"{op.name}_drawn" for op in CATALOG}
    named = {n for op in CATALOG for n in (op.forward, f"{op.name}_backward")}
    named |= {f"{op.name}_{what}" for op in CATALOG if op.tangent for what in SECOND_ORDER}
    assert set(ops.__all__) - helpers - drawn - named == set()
    assert {n for n in named if n.endswith(SECOND_ORDER)} <= set(ops.__all__)
    assert {op.forward for op in CATALOG} <= set(ops.__all__)


@each_op
def test_an_op_stands_on_the_page_that_its_row_names(op):
    page = importlib.import_module(f"refgen.ops.{op.page}")
    assert getattr(page, op.forward) is getattr(ops, op.forward)


@each_with_backward
@given(data=st.data())
def test_backward_is_the_adjoint_of_forward(op, data):
    """<J t, dy> = <t, J^T dy>, with J t by the complex step, or by differences at kinks."""
    arrays, static, rng = data.draw(calls(op))
    if not op.analytic:  # stay away from the kink at 0
        arrays = {k: a + np.copysign(0.01, a) for k, a in arrays.items()}
    forward, backward = getattr(ops, op.forward), getattr(ops, f"{op.name}_backward")
    *ys, cache = forward(**arrays, **static)
    forward = op.surrogate or forward  # backward may claim to be another function's, openly
    dys = [draw_like(rng, y) for y in ys]
    grads = backward(*dys, cache)
    grads = grads if isinstance(grads, tuple) else (grads,)
    assert [g.shape for g in grads] == [arrays[a].shape for a in op.wrt]
    tangents = [rng.normal(size=arrays[a].shape) for a in op.wrt]
    inputs = [arrays[a] for a in op.wrt]
    gaps, tangents_out = [], []
    for i in range(len(ys)):

        def output(*xs, i=i):
            return forward(**{**arrays, **dict(zip(op.wrt, xs, strict=True))}, **static)[i]

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
    arrays, static, rng = data.draw(calls(op, np.float32))
    assert {a.dtype for a in run(ops, op, arrays, static, rng)} == {np.dtype(np.float32)}


@each_op
@given(data=st.data())
def test_the_reference_runs_on_any_array_that_dispatches(op, data):
    """A duck that refuses conversion stands for CuPy: no np.zeros(shape), no float(array)."""
    arrays, static, rng = data.draw(calls(op))
    seed = int(rng.integers(2**32))
    plain = run(ops, op, arrays, static, np.random.default_rng(seed))
    *ys, cache = (
        getattr(ops, op.forward)(**{k: Duck(a) for k, a in arrays.items()}, **static)
        if op.wrt
        else (*undressed_update(op, arrays, static), None)
    )
    results = list(ys)
    if op.wrt:
        again = np.random.default_rng(seed)
        dys = [Duck(draw_like(again, undress(y))) for y in ys]
        grads = getattr(ops, f"{op.name}_backward")(*dys, cache)
        results += grads if isinstance(grads, tuple) else [grads]
    for p, r in zip(plain, results, strict=True):
        assert np.array_equal(p, undress(r))


def undressed_update(op, arrays, static):
    result = getattr(ops, op.forward)(**{k: Duck(a) for k, a in arrays.items()}, **static)
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", [name for name in ops.__all__ if name.endswith("_drawn")])
@given(data=st.data())
def test_noise_drawn_for_an_op_is_an_array_as_the_others_are(name, data):
    """The noise is computed on the host, whatever the arrays it is added to."""
    op = next(op for op in CATALOG if f"{op.name}_drawn" == name)
    arrays, static, _ = data.draw(calls(op))
    del arrays["noise"]
    drawn = getattr(ops, name)
    plain = drawn(*arrays.values(), (1, 2, 3, 4), 7, **static)
    ducks = drawn(*map(Duck, arrays.values()), (1, 2, 3, 4), 7, **static)
    for p, d in zip(leaves(plain), leaves(ducks), strict=True):
        assert np.array_equal(p, undress(d))


def leaves(x):
    """Return the arrays of nested tuples."""
    return [a for y in x for a in leaves(y)] if isinstance(x, tuple) else [x]


def test_the_duck_refuses_what_a_device_array_refuses():
    """The tests above can fail: a host array made from a shape, and a silent conversion."""
    with pytest.raises(TypeError, match="mixing"):
        np.zeros(3) + Duck(np.ones(3))
    with pytest.raises(TypeError, match="mixing"):
        np.where(Duck(np.ones(3)), np.zeros(3), 1.0)
    with pytest.raises(TypeError, match="implicit"):
        np.asarray(Duck(np.ones(3)))


each_with_tangent = pytest.mark.parametrize(
    "op", [op for op in CATALOG if op.tangent], ids=lambda op: op.name
)


@each_with_tangent
@given(data=st.data())
def test_the_tangent_is_the_derivative_of_forward(op, data):
    arrays, static, rng = data.draw(calls(op))
    forward, tangent = getattr(ops, op.forward), getattr(ops, f"{op.name}_tangent")
    if not op.analytic:
        arrays = away_from_kinks(arrays)
    inputs, directions = [arrays[a] for a in op.wrt], [draw_like(rng, arrays[a]) for a in op.wrt]

    def output(*xs):
        return forward(**{**arrays, **dict(zip(op.wrt, xs, strict=True))}, **static)[0]

    *_, cache = forward(**arrays, **static)
    found = tangent(*directions, cache)
    if op.analytic:
        exact = check.complex_step(output, inputs, directions)
        np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-12 * span(exact))
    else:
        d = check.central_difference(output, inputs, directions, h=1e-4)
        assert np.all(np.abs(found - d.value) <= 4 * d.noise + 1e-12)


@each_with_tangent
@given(data=st.data())
def test_the_curvature_is_the_gradient_of_the_tangent(op, data):
    """∇ over the inputs of ⟨dy, J(inputs) t⟩, which the rules of second order are made of."""
    arrays, static, rng = data.draw(calls(op))
    forward, tangent = getattr(ops, op.forward), getattr(ops, f"{op.name}_tangent")
    if not op.analytic:
        arrays = away_from_kinks(arrays)
    inputs, directions = [arrays[a] for a in op.wrt], [draw_like(rng, arrays[a]) for a in op.wrt]

    def slope(*xs):
        *_, cache = forward(**{**arrays, **dict(zip(op.wrt, xs, strict=True))}, **static)
        return tangent(*directions, cache)

    *_, cache = forward(**arrays, **static)
    dy = draw_like(rng, slope(*inputs))
    grads = getattr(ops, f"{op.name}_curvature")(dy, *directions, cache)
    grads = grads if isinstance(grads, tuple) else (grads,)
    assert [g.shape for g in grads] == [a.shape for a in inputs]
    tangents = [draw_like(rng, a) for a in inputs]
    if op.analytic:
        moved = check.complex_step(slope, inputs, tangents)
        assert check.adjoint_gap(tangents, grads, [dy], [moved]) < 1e-12
    else:
        d = check.central_difference(slope, inputs, tangents, h=1e-4)
        back = sum(float(np.sum(t * g)) for t, g in zip(tangents, grads, strict=True))
        assert (
            abs(float(np.sum(d.value * dy)) - back) <= float(np.sum(np.abs(d.noise * dy))) + 1e-12
        )


def away_from_kinks(arrays):
    return {k: a + np.copysign(0.01, a) for k, a in arrays.items()}


def span(a):
    return max(1.0, float(np.abs(a).max(initial=0.0)))
