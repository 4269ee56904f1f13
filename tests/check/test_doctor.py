"""The derivation doctor: every planted slip is seen, the nameable ones by name, no other."""

import json
import math

import numpy as np
import pytest

from refgen import tree
from refgen.check import check_grad
from tests.check import vae_by_hand as vae

NAMED_SLIPS = [  # slip, array, verdict, what the first cause says; judged with named terms
    ("no mean over batch", "enc/w", "factor", "= batch (is the mean over batch missing?)"),
    ("mean twice", "out/b", "factor", "= 1/batch"),
    ("residual reversed", "out/w", "sign", "-1"),
    ("residual reversed", "enc/w", "term", "recon has weight -1 instead"),
    ("square's 2 kept", "dec/w", "factor", "yours is 2 x"),
    ("square's 2 kept", "mu/b", "term", "recon has weight 2 instead"),
    ("half twice", "out/w", "factor", "= 1/2"),
    ("half twice", "enc/b", "term", "recon has weight 0.5 = 1/2"),
    ("recon summed", "logvar/w", "term", "recon has weight 11 = batch instead"),
    ("stop at z", "mu/w", "term", "recon has weight 0 "),
    ("beta forgotten", "mu/w", "term", "kl has weight 1.42857 = 1/beta"),
    ("beta twice", "enc/w", "term", "kl has weight 0.7 = beta"),
    ("kl missing", "enc/w", "term", "kl has weight 0 "),
    ("kl doubled", "logvar/w", "term", "kl has weight 2 instead"),
    ("kl half", "enc/b", "term", "kl has weight 0.5 = 1/2"),
    ("kl sign", "mu/w", "term", "kl has weight -1 instead"),
    ("kl mean", "mu/w", "term", "kl has weight 0.2 = 1/latent"),
    ("kl summed", "logvar/b", "term", "kl has weight 11 = batch"),
    ("mu^2 term dropped", "mu/w", "term", "kl has weight 0 "),
    ("logvar as log sigma", "logvar/w", "factor", "yours is 2 x"),
    ("draw's half missing", "logvar/w", "term", "recon has weight 2 instead"),
    ("draw's path dropped", "logvar/b", "term", "recon has weight 0 "),
]
NAMED_IN_PARTS = [  # the same, once the loss returns the terms of the KL apart
    ("mu^2 term dropped", "enc/w", "term", "kl: mu^2 has weight 0 (it is left out) instead"),
    ("variance term dropped", "logvar/w", "term", "kl: var has weight 0 (it is left out) instead"),
    ("-1 term dropped", "logvar/b", "term", "kl: -logvar has weight 0 (it is left out) instead"),
]
UNNAMED_SLIPS = [  # an error inside the chain rule: no simple rule holds, and none is claimed
    ("pre-activation cached", "out/w"),
    ("decoder tanh' missing", "dec/w"),
    ("tanh' is 1 - g", "dec/b"),
    ("mu cached for z", "dec/w"),
    ("noise forgotten", "logvar/w"),
    ("only the mean's path", "enc/w"),
    ("encoder tanh' missing", "enc/w"),
    ("wrong input cached", "enc/w"),
]
NAMED_SPOILS = [  # what happened to the finished gradient of one array
    ("sign of one array", "sign", "-1"),
    ("bias averaged over batch", "factor", "= 1/batch"),
    ("bias not summed", "wrong shape", "(11, 7) instead of (7,): sum it over axis 0"),
    ("bias keeps an axis", "wrong shape", "reshape it"),
    ("transposed", "transposed", "transpose"),
    ("zero", "all zero", "zero everywhere"),
    ("NaN", "not finite", "1 of 15 entries are NaN or infinite, the first at [0, 1]"),
    ("off by 1e-4", "factor", "yours is 1.0001 x the true gradient, in every entry"),
    ("off by 1e-6", "factor", "yours is 1.000001 x the true gradient, in every entry"),
    ("L2 term", "parameter term", "yours has an extra 0.01 x out/w"),
    ("beta as L2", "parameter term", "yours has an extra 0.7 = beta x enc/w"),
    ("constant added", "constant term", "too large by 0.25 in every entry"),
    ("reversed", "reversed", "reverse order"),
    ("shifted", "shifted", "shifted by +1"),
    ("last column zero", "slice", "only column 6, the last, is wrong; there yours is zero"),
    ("row scaled", "row factor", "only row 1 is wrong; there yours is 4 x"),
    ("one entry", "slice", "only the entry [2, 1] is wrong"),
    ("columns each scaled", "column factor", "each column has a factor of its own"),
    ("batch / latent", "factor", "= batch/latent"),
    ("half batch", "factor", "= 1/(2·batch)"),
]
UNNAMED_SPOILS = ["reshaped, not transposed", "noise on top"]
ROUNDED = "float16 inside"  # neither right nor provably wrong
SLIPS = sorted({s for s, *_ in NAMED_SLIPS + NAMED_IN_PARTS + UNNAMED_SLIPS})
PLAIN = {"agrees", "wrong", "slice"}  # verdicts that name no cause


def diagnose(grads, loss=vae.loss, params=None):
    report = check_grad(loss, grads, vae.init() if params is None else params, vae.SIZES)
    return report, {p.name: p for p in report.parameters}


def with_slip(slip):
    return lambda p: vae.grads(p, slip)


def spoiled(name):
    return lambda p: vae.spoiled_grads(p, name)


def touched(slip, params):
    """Return how far the slip moves each array, relative to its largest entry."""
    right, wrong = (tree.flatten(vae.grads(params, s)) for s in ("", slip))
    return {k: np.max(np.abs(wrong[k] - g)) / np.max(np.abs(g)) for k, g in right.items()}


@pytest.mark.tiny
def test_a_correct_derivation_agrees_to_rounding():
    report, _ = diagnose(vae.grads)
    assert report.ok
    assert sum(p.tested for p in report.parameters) == 110
    assert max(p.max_rel_error for p in report.parameters) < 1e-13
    report.raise_if_wrong()


@pytest.mark.parametrize("slip", SLIPS)
def test_the_arrays_found_wrong_are_those_that_a_slip_touches(slip):
    moved = touched(slip, vae.init())
    for loss in (vae.loss, vae.loss_in_parts):
        report, found = diagnose(with_slip(slip), loss)
        assert not report.ok
        assert {k for k, p in found.items() if not p.ok} == {k for k, d in moved.items() if d > 0}


@pytest.mark.parametrize(("slip", "array", "verdict", "says"), NAMED_SLIPS)
def test_a_wrong_weight_or_factor_is_named(slip, array, verdict, says):
    _, found = diagnose(with_slip(slip))
    assert found[array].verdict == verdict
    assert says in found[array].causes[0]


@pytest.mark.parametrize(("slip", "array", "verdict", "says"), NAMED_IN_PARTS)
def test_a_dropped_term_is_named_when_the_loss_tells_its_terms(slip, array, verdict, says):
    _, found = diagnose(with_slip(slip), vae.loss_in_parts)
    assert found[array].verdict == verdict
    assert says in found[array].causes[0]


@pytest.mark.parametrize(("slip", "array"), UNNAMED_SLIPS)
def test_an_error_of_the_chain_rule_gets_no_false_name(slip, array):
    for loss in (vae.loss, vae.loss_in_parts):
        report, found = diagnose(with_slip(slip), loss)
        assert found[array].verdict == "wrong"
        assert {p.verdict for p in report.parameters} <= PLAIN
        assert "Follow your backward pass" in str(report)


@pytest.mark.parametrize(("name", "verdict", "says"), NAMED_SPOILS)
def test_a_spoiled_array_is_named(name, verdict, says):
    report, found = diagnose(spoiled(name))
    array, _ = vae.SPOILED[name]
    assert found[array].verdict == verdict
    assert says in found[array].causes[0]
    assert [p.name for p in report.parameters if not p.ok] == [array]


@pytest.mark.parametrize("name", UNNAMED_SPOILS)
def test_a_shapeless_error_gets_no_false_name(name):
    _, found = diagnose(spoiled(name))
    assert found[vae.SPOILED[name][0]].verdict == "wrong"


def test_a_gradient_rounded_to_float16_is_not_passed_and_is_told_why():
    _, found = diagnose(spoiled(ROUNDED))
    assert found["enc/w"].verdict == "inconclusive"
    assert "your gradient is rounded that coarsely" in found["enc/w"].causes[0]


def test_every_planted_error_stands_in_a_table():
    named = {name for name, *_ in NAMED_SPOILS}
    assert named | set(UNNAMED_SPOILS) | {ROUNDED} == set(vae.SPOILED)
    assert len(SLIPS) + len(vae.SPOILED) >= 50


def test_there_is_no_false_alarm_on_200_random_parameter_sets():
    rng = np.random.default_rng(1)
    for seed in range(200):
        params = vae.init(seed, 10 ** rng.uniform(-2, np.log10(3)))
        report, _ = diagnose(vae.grads, params=params)
        assert report.ok, f"seed {seed}\n{report}"


def test_there_is_no_false_alarm_where_only_differences_can_judge():
    def real(p):  # float() refuses complex numbers
        return {name: float(term) for name, term in vae.loss(p).items()}

    rng = np.random.default_rng(2)
    scales = [10 ** rng.uniform(-2, np.log10(3)) for _ in range(40)]
    for seed, scale in [*enumerate(scales), (692, 2.87003)]:  # the last has a saturated tanh
        params = vae.init(seed, scale)
        report, _ = diagnose(vae.grads, real, params)
        assert report.ok, f"seed {seed}\n{report}"
        assert report.method == "central difference"


def test_slips_are_seen_on_random_parameter_sets():
    rng = np.random.default_rng(3)
    seen = 0
    for seed in range(100):
        params = vae.init(seed, 10 ** rng.uniform(-2, np.log10(3)))
        slip = SLIPS[seed % len(SLIPS)]
        _, found = diagnose(with_slip(slip), params=params)
        for name, distance in touched(slip, params).items():
            if distance > 1e-7:
                assert not found[name].ok, f"seed {seed}, {slip}, {name}: {distance}"
                seen += 1
            elif distance < 1e-12:
                assert found[name].ok, f"seed {seed}, {slip}, {name}: {distance}"
    assert seen > 300


def test_a_random_error_gets_no_name():
    rng = np.random.default_rng(4)
    for seed in range(60):
        params = vae.init(seed)
        size = 10 ** rng.uniform(-6, 0)
        array = ("enc", "mu", "logvar", "dec", "out")[seed % 5]
        error = size * rng.normal(size=vae.SHAPES[array]["w"])
        error *= rng.random(error.shape) < rng.uniform(0.1, 1)
        if not np.any(error):
            continue

        def grads(p, array=array, error=error):
            out = vae.grads(p)
            out[array]["w"] = out[array]["w"] * (1 + error)
            return out

        _, found = diagnose(grads, params=params)
        assert found[f"{array}/w"].verdict in {"wrong", "slice"}, found[f"{array}/w"]


def test_a_number_that_two_names_explain_is_given_both_and_one_near_a_name_gets_none():
    x = np.arange(1.0, 6.0)
    loss, grads = (lambda p: np.sum(p["x"] ** 3)), (lambda p: {"x": 6 * p["x"] ** 2})
    (p,) = check_grad(loss, grads, {"x": x}, {"latent": 2}).parameters
    assert "yours is 2 x the true gradient = 2 or latent" in p.causes[0]
    (p,) = check_grad(loss, grads, {"x": x}, {"hidden": 2.0001}).parameters
    assert "hidden" not in p.causes[0]


def test_as_many_weights_as_entries_explain_anything_and_so_nothing():
    a, b = np.array([1.0, 2.0]), np.array([3.0, -1.0])

    def loss(p):
        return {"a": np.sum(a * p["x"]), "b": np.sum(b * p["x"])}

    def verdict(gradient):
        (p,) = check_grad(loss, lambda p: {"x": gradient}, {"x": np.ones(2)}, {"n": 5}).parameters
        return p.verdict

    assert verdict(1.234 * a + 0.777 * b) == "wrong"  # solvable, but by numbers without a name
    assert verdict(a + b / 5) == "term"


# Before the gradient is blamed


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
