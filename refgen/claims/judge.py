"""Run the checks: the right form must hold, and the same check must catch every wrong one."""

import math
import warnings
from collections.abc import Callable, Iterable

import numpy as np

from refgen.claims.claim import Check, Claim, Erratum, Form
from refgen.claims.report import ErrataReport, ErratumVerdict, Report, Verdict, WrongVerdict
from refgen.noise import Noise

BREAKS = (ArithmeticError, ValueError)  # what a wrong form may do instead of answering wrongly


def verify(
    claims: Iterable[Claim],
    seed: int = 0,
    cases: int = 8,
    on_claim: Callable[[Verdict], None] | None = None,
) -> Report:
    """Judge every claim on so many cases; tell on_claim each verdict as it falls.

    The draws of a case depend on the seed, the claim and the number of the case only, so a claim
    gets the same verdict alone as among others. Raises ValueError for fewer cases than 1.
    """
    verdicts = []
    for claim in claims:
        verdicts.append(_verdict(claim, _places(claim.id, seed, cases)))
        if on_claim is not None:
            on_claim(verdicts[-1])
    return Report(tuple(verdicts))


def verify_errata(
    errata: Iterable[Erratum],
    seed: int = 0,
    cases: int = 8,
    on_erratum: Callable[[ErratumVerdict], None] | None = None,
) -> ErrataReport:
    """Judge every printed equation and its correction, as verify does claims."""
    verdicts = []
    for erratum in errata:
        verdicts.append(_erratum_verdict(erratum, _places(erratum.id, seed, cases)))
        if on_erratum is not None:
            on_erratum(verdicts[-1])
    return ErrataReport(tuple(verdicts))


def _places(id: str, seed: int, cases: int) -> list[Noise]:
    if cases < 1:
        raise ValueError(f"a claim is judged on at least 1 case, not {cases}")
    return [Noise(seed).at(id, case) for case in range(cases)]


def _verdict(claim: Claim, places: list[Noise]) -> Verdict:
    residual, reason = _of_right(claim.check, claim.right, places, claim.tolerance)
    wrong = []
    for name, form in claim.wrong.items():
        found, slip = _of_wrong(claim.check, form, places)
        caught = not slip and not found <= claim.tolerance
        wrong.append(WrongVerdict(name, found, caught))
        if not caught:
            reason = reason or f"{name!r} {slip or 'passes: the check does not see it'}"
    if not wrong:
        reason = reason or "no wrong form, so nothing shows that the check can fail"
    return Verdict(claim, residual, tuple(wrong), reason)


def _erratum_verdict(erratum: Erratum, places: list[Noise]) -> ErratumVerdict:
    corrected, reason = _of_right(erratum.check, erratum.corrected, places, erratum.tolerance)
    printed, slip = _of_wrong(erratum.check, erratum.printed, places)
    if slip or printed <= erratum.tolerance:
        reason = reason or f"the printed form {slip or 'passes the check'}"
    return ErratumVerdict(erratum, printed, corrected, reason)


def _of_right(check: Check, form: Form, places: list[Noise], tolerance: float) -> tuple[float, str]:
    """Return the worst residual of a form that must hold, and why it does not."""
    worst = 0.0
    for case, place in enumerate(places):
        try:
            residual = float(check(form, place))
        except Exception as error:
            return math.nan, f"case {case} raised {type(error).__name__}: {error}"
        if not math.isfinite(residual):
            return residual, f"case {case} has residual {residual}"
        worst = max(worst, abs(residual))
    over = f"residual {worst:.3g} exceeds the tolerance {tolerance:.3g}"
    return worst, "" if worst <= tolerance else over


def _of_wrong(check: Check, form: Form, places: list[Noise]) -> tuple[float, str]:
    """Return the worst residual of a form that must be caught, inf where it breaks down.

    Any other error is a slip in the form's code, not a property of the equation; it comes back
    in words and catches nothing.
    """
    worst = 0.0
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in places:
            try:
                residual = abs(float(check(form, place)))
            except BREAKS:
                return math.inf, ""
            except Exception as error:
                return math.nan, f"raised {type(error).__name__}: {error}"
            worst = max(worst, residual if math.isfinite(residual) else math.inf)
    return worst, ""
