"""The claims on paths, predictions and weights hold, can fail, and try the project's own code."""

import dataclasses
import sys

import numpy as np
import pytest

from refgen.claims import levels, parametrizations, verify, weights
from refgen.processes import learned, parametrization, path, schedule, spacing
from refgen.processes import weights as weighing

pytestmark = pytest.mark.tiny
CLAIMS = (*parametrizations.CLAIMS, *weights.CLAIMS, *levels.CLAIMS)
each_claim = pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
ON_TRIAL = [
    (parametrization.convert, "param.v_prediction"),
    (parametrization.coefficients, "param.six_kinds_commute"),
    (parametrization.area, "weight.same_gradient"),
    (path.sde, "param.flow_velocity"),
    (path.time_of, "vdm.only_the_ends_count"),
    (weighing.loss_weight, "weight.min_snr_v"),
    (weighing.elbo_of_step, "weight.elbo_fall_of_snr"),
    (weighing.in_kind, "weight.elbo_fall_of_snr"),
    (weighing.elbo, "vdm.only_the_ends_count"),
    (learned.bound_backward, "vdm.end_slopes"),
    (schedule.geometric, "ncsn.geometric_levels"),
    (spacing.karras, "sched.karras"),
]


@each_claim
@pytest.mark.parametrize("seed", [1, 100])
def test_a_claim_holds_and_catches_its_wrong_forms_by_a_margin(claim, seed):
    (verdict,) = verify([claim], seed=seed, cases=2).verdicts
    assert verdict.passed, verdict.reason
    assert all(w.residual >= 3 * claim.tolerance for w in verdict.wrong)


@each_claim
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_claim_takes_nan_for_an_answer(claim):
    nothing = dataclasses.replace(
        claim, right=lambda *args: np.nan * np.asarray(claim.right(*args))
    )
    (verdict,) = verify([nothing], cases=2).verdicts
    assert not verdict.residual <= claim.tolerance


def larger(y):
    if isinstance(y, tuple) and hasattr(y, "_fields"):
        return type(y)(*(1.1 * part for part in y))
    return tuple(1.1 * part for part in y) if isinstance(y, tuple) else 1.1 * y


@pytest.mark.parametrize(("f", "id"), ON_TRIAL, ids=lambda x: getattr(x, "__name__", x))
def test_a_function_a_tenth_too_large_makes_a_claim_fail(f, id, monkeypatch):
    (claim,) = (c for c in CLAIMS if c.id == id)

    def broken(*args, **kwargs):
        return larger(f(*args, **kwargs))

    for name, module in list(sys.modules.items()):
        if name.startswith("refgen") and getattr(module, f.__name__, None) is f:
            monkeypatch.setattr(module, f.__name__, broken)
    right = broken if claim.right is f else claim.right
    (verdict,) = verify([dataclasses.replace(claim, right=right)], cases=2).verdicts
    assert not verdict.residual <= claim.tolerance
