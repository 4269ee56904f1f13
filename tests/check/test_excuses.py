"""What is asked before a gradient is blamed, and how the report says what was found."""

import json
import math

import numpy as np
import pytest

from refgen import tree
from refgen.check import check_grad
from tests.check import vae_by_hand as vae
from tests.check.test_doctor import diagnose, spoiled


def test_a_kink_is_reported_as_a_kink():
    def loss(p):
        return np.sum(np.abs(p["a"]))

    def grads(p):
        return {"a": np.sign(p["a"])}

    smooth = check_grad(loss, grads, {"a": np.array([1.0, 0.3, -2.0])})
    assert smooth.ok
    (p,) = check_grad(loss, grads, {"a": np.array([1.0, 0.0, -2.0])}).parameters
    assert p.verdict == "inconclusive"
    assert "kink" in p.causes[0]
    assert "[1]" in p.causes[0]
    doubled = check_grad(loss, lambda p: {"a": 2 * np.sign(p["a"])}, {"a": np.array([1.0, 0, -2])})
    assert doubled.parameters[0].verdict == "factor"


def rectified(dtype):
    """Return loss and gradient of a small rectifier network computed in one precision."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=s).astype(dtype) for s in ((11, 7), (11, 3)))

    def loss(p):
        w, b, v = (p[k].astype(dtype) for k in ("w", "b", "v"))
        r = np.maximum(x @ w + b, 0) @ v - y
        return float(np.sum(r * r) / dtype(22))

    def grads(p):
        w, b, v = (p[k].astype(dtype) for k in ("w", "b", "v"))
        h = np.maximum(x @ w + b, 0)
        r = (h @ v - y) / dtype(11)
        d = (r @ v.T) * (h > 0)
        return {"b": np.sum(d, axis=0), "v": h.T @ r, "w": x.T @ d}

    return loss, grads


def rectifier_params(seed):
    rng = np.random.default_rng(seed)
    shapes = {"w": (7, 5), "b": (5,), "v": (5, 3)}
    return {k: 10 ** rng.uniform(-2, 0.5) * rng.normal(size=s) for k, s in shapes.items()}


def test_a_rectifier_network_agrees_away_from_its_kinks():
    loss, grads = rectified(np.float64)
    for seed in range(40):
        report = check_grad(loss, grads, rectifier_params(seed))
        assert report.ok, f"seed {seed}\n{report}"


def test_a_loss_in_float32_is_inconclusive_when_right_and_wrong_when_visibly_wrong():
    loss, _ = rectified(np.float32)
    _, grads = rectified(np.float64)
    for seed in range(20):
        report = check_grad(loss, grads, rectifier_params(seed))
        verdicts = {p.verdict for p in report.parameters}
        assert verdicts <= {"agrees", "inconclusive"}, f"seed {seed}\n{report}"
        assert not report.ok
    flipped = check_grad(loss, lambda p: tree.map(np.negative, grads(p)), rectifier_params(0))
    assert {p.verdict for p in flipped.parameters} <= {"sign", "wrong"}  # a kink hides the name
    assert flipped.parameters[1].verdict == "sign"


def test_a_gradient_in_float32_agrees_to_float32():
    loss, _ = rectified(np.float64)
    _, grads = rectified(np.float32)
    as_float64 = lambda p: tree.map(np.float64, grads(p))  # noqa: E731
    for f in (grads, as_float64):
        report = check_grad(loss, f, rectifier_params(1))
        assert report.ok, str(report)
        assert max(p.floor for p in report.parameters) > 1e-8


def test_a_bias_that_a_normalisation_removes_has_gradient_zero():
    x, y = np.random.default_rng(0).normal(size=(2, 11, 3))

    def loss(p):
        c = x + p["b"] - np.mean(x + p["b"], axis=0)
        return np.sum(np.tanh(c * p["g"]) * y)

    def grads(p):
        c = x + p["b"] - np.mean(x + p["b"], axis=0)
        d = (1 - np.tanh(c * p["g"]) ** 2) * y
        return {"b": np.sum(p["g"] * (d - np.mean(d, axis=0)), axis=0), "g": np.sum(d * c, axis=0)}

    params = {"b": np.ones(3), "g": np.array([0.5, 1.0, 2.0])}
    assert check_grad(loss, grads, params).ok
    assert check_grad(lambda p: float(loss(p)), grads, params).ok


@pytest.mark.parametrize(
    ("loss", "grads", "says"),
    [
        (lambda p: np.nan * np.sum(p["a"]), lambda p: p, "loss is nan at these params"),
        (lambda p: np.random.default_rng().normal(), lambda p: p, "draw the noise once"),
        (
            lambda p: np.sum(p["a"]),
            lambda p: {"a": np.random.default_rng().normal(size=3)},
            "grads gives two values of a",
        ),
    ],
)
def test_what_has_no_gradient_is_not_judged(loss, grads, says):
    (p,) = check_grad(loss, grads, {"a": np.ones(3)}).parameters
    assert p.verdict == "inconclusive"
    assert says in p.causes[0]


def test_steps_that_leave_the_domain_of_the_loss_are_shortened():
    def loss(p):  # math.log raises where numpy returns nan
        return sum(math.log(v) for v in p["a"])

    near_the_edge = {"a": np.array([1e-4, 0.02, 3.0])}
    assert check_grad(loss, lambda p: {"a": 1 / p["a"]}, near_the_edge).ok
    wrong = check_grad(loss, lambda p: {"a": 2 / p["a"]}, near_the_edge)
    assert wrong.parameters[0].verdict == "factor"


def test_a_loss_too_steep_for_long_steps_is_not_called_wrong():
    def loss(p):
        return float(np.sum(np.sin(1e5 * p["a"])))

    (p,) = check_grad(
        loss, lambda p: {"a": 1e5 * np.cos(1e5 * p["a"])}, {"a": np.array([1.0, 2.0])}
    ).parameters
    assert p.verdict == "inconclusive"
    assert p.causes[0].startswith("cannot judge below")


def test_a_function_that_writes_into_its_arguments_is_told_so():
    def grads(p):
        out = {"a": 2 * p["a"]}
        p["a"] *= 0
        return out

    (p,) = check_grad(lambda p: np.sum(p["a"] ** 2), grads, {"a": np.ones(3)}).parameters
    assert p.verdict == "changed argument"
    assert p.causes[0].startswith("grads(params) writes into params")


def test_missing_and_extra_arrays_are_listed():
    report = check_grad(
        lambda p: np.sum(p["a"] * p["b"]),
        lambda p: {"a": p["b"], "c": p["a"]},
        {"a": np.ones(3), "b": np.arange(3.0)},
    )
    assert [(p.name, p.verdict) for p in report.parameters] == [
        ("a", "agrees"),
        ("b", "missing"),
        ("c", "extra"),
    ]


def test_a_large_array_is_judged_by_a_subset_and_by_directions():
    a, params = np.random.default_rng(0).normal(size=(50, 40)), {"w": np.ones((40, 30))}

    def loss(p):
        return 0.5 * np.sum((a @ p["w"]) ** 2)

    def grads(p, row=0, factor=1.0):
        g = a.T @ (a @ p["w"])
        g[row] *= factor
        return {"w": g}

    (p,) = check_grad(loss, grads, params).parameters
    assert (p.ok, p.tested) == (True, 400)
    (p,) = check_grad(
        loss, lambda p: tree.map(lambda g: 50 * g, grads(p)), params, {"N": 50}
    ).parameters
    assert (p.verdict, "= N" in p.causes[0]) == ("factor", True)

    def one_entry(p):
        g = grads(p)["w"]
        g[17, 3] *= 1.01  # not among the entries drawn
        return {"w": g}

    (p,) = check_grad(loss, one_entry, params).parameters
    assert p.verdict == "wrong"
    assert "directions through all 1200 do not" in p.causes[0]


def test_a_bare_array_and_a_number_are_trees_too():
    assert check_grad(lambda x: np.sum(x**3), lambda x: 3 * x**2, np.arange(3.0)).ok
    assert check_grad(lambda p: p["s"] ** 2, lambda p: {"s": 2 * p["s"]}, {"s": 3.0}).ok
    assert check_grad(lambda p: np.sum(p["x/y"]), lambda p: {"x/y": 1.0}, {"x/y": np.ones(())}).ok


def test_a_loss_that_is_no_number_and_a_size_that_is_none_are_refused():
    with pytest.raises(ValueError, match=r"loss must be a number, not shape \(3,\): take its mean"):
        check_grad(lambda p: p["a"], lambda p: p, {"a": np.ones(3)})
    with pytest.raises(ValueError, match="sizes: batch is 0"):
        check_grad(lambda p: np.sum(p["a"]), lambda p: p, {"a": np.ones(3)}, {"batch": 0})


# The report


def test_the_table_shows_the_worst_entry_and_the_cause():
    report, _ = diagnose(spoiled("bias averaged over batch"))
    text = str(report)
    index = max(range(7), key=lambda i: abs(vae.grads(vae.init())["out"]["b"][i]))
    assert f"    worst entry out/b[{index}]: yours " in text
    assert "    -> yours is 0.0909091 x the true gradient = 1/batch" in text
    assert text.endswith("10 parameters: 9 agree, 1 wrong, judged by complex step in float64")
    with pytest.raises(AssertionError, match="1/batch"):
        report.raise_if_wrong()


def test_the_json_document_is_strict_and_has_its_keys():
    for name in ("NaN", "transposed"):
        report, _ = diagnose(spoiled(name))
        document = json.loads(report.to_json(), parse_constant=lambda c: pytest.fail(c))
        assert (document["schema"], document["ok"]) == (1, False)
        assert set(document["parameters"][0]) == {
            "name",
            "shape",
            "verdict",
            "max_rel_error",
            "floor",
            "worst_index",
            "causes",
        }
