"""What a claim is, and how it is judged: the right form must hold, every wrong form must not.

A check is a function of a *form*, the formula under test, and of a place in the noise from which
it draws its case. It returns a residual: 0 for the truth, in whatever unit the claim states. The
same check judges the project's own code and every wrong form, so a check that cannot tell them
apart is found out.
"""

import difflib
import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refgen.noise import Noise

Form = Callable[..., Any]
Check = Callable[[Form, Noise], float]


@dataclass(frozen=True)
class Claim:
    """One equation of the lectures, executable. Raises ValueError without a wrong form."""

    id: str
    statement: str  # LaTeX
    family: str
    sources: tuple[str, ...]  # 'L1 "slide"' for a lecture, a key of sources.bib for a paper
    right: Form  # the project's own code where it exists
    wrong: Mapping[str, Form]  # what is wrong -> the form that has it
    check: Check
    tolerance: float

    def __post_init__(self) -> None:
        if not self.wrong:
            raise ValueError(f"claim {self.id} has no wrong form: nothing shows that it can fail")


@dataclass(frozen=True)
class Erratum:
    """A place where a lecture, as printed, is false; the correction holds."""

    id: str
    where: str
    sentence: str
    printed: Form
    corrected: Form
    check: Check
    tolerance: float


class WrongVerdict(NamedTuple):
    """What became of one wrong form."""

    name: str
    residual: float
    caught: bool


class Verdict(NamedTuple):
    """What became of one claim."""

    claim: Claim
    residual: float
    wrong: tuple[WrongVerdict, ...]
    reason: str  # "" where it holds

    @property
    def passed(self) -> bool:
        """The right form holds and every wrong form was caught."""
        return not self.reason

    @property
    def caught(self) -> int:
        """How many wrong forms were caught."""
        return sum(w.caught for w in self.wrong)


@dataclass(frozen=True)
class Report:
    """The verdicts on a list of claims."""

    verdicts: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        """Every claim holds."""
        return all(v.passed for v in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return the document of `refgen verify --json`; a residual that is not finite is null."""
        claims = [
            {
                "id": v.claim.id,
                "family": v.claim.family,
                "sources": list(v.claim.sources),
                "residual": _finite(v.residual),
                "tolerance": v.claim.tolerance,
                "passed": v.passed,
                "wrong_forms": [
                    {"name": w.name, "residual": _finite(w.residual), "caught": w.caught}
                    for w in v.wrong
                ],
            }
            for v in self.verdicts
        ]
        return {"schema": 1, "claims": claims, "summary": self.summary()}

    def summary(self) -> dict[str, int]:
        """Count claims that hold and wrong forms that were caught."""
        return {
            "claims": len(self.verdicts),
            "passed": sum(v.passed for v in self.verdicts),
            "wrong_forms": sum(len(v.wrong) for v in self.verdicts),
            "caught": sum(v.caught for v in self.verdicts),
        }

    def table(self) -> str:
        """Return aligned text, a family at a time, with a closing line."""
        width = max((len(v.claim.id) for v in self.verdicts), default=0)
        lines = []
        for family in dict.fromkeys(v.claim.family for v in self.verdicts):
            lines += ["", f"{family:<{width}}  residual  allowed   wrong forms caught"]
            for v in self.verdicts:
                if v.claim.family == family:
                    verdict = "ok" if v.passed else f"FAILED: {v.reason}"
                    counts = f"{v.caught} of {len(v.wrong)}"
                    numbers = f"{v.residual:8.1e}  {v.claim.tolerance:7.0e}"
                    lines.append(f"{v.claim.id:<{width}}  {numbers}   {counts:<8} {verdict}")
        s = self.summary()
        lines += [
            "",
            f"{s['claims']} claims: {s['passed']} hold, "
            f"{s['caught']} of {s['wrong_forms']} wrong forms caught",
        ]
        return "\n".join(lines).lstrip("\n")


class ErratumVerdict(NamedTuple):
    """What became of one erratum."""

    erratum: Erratum
    printed: float
    corrected: float

    @property
    def passed(self) -> bool:
        """The printed form fails and the corrected one holds."""
        tolerance = self.erratum.tolerance
        return not self.printed <= tolerance and self.corrected <= tolerance


@dataclass(frozen=True)
class ErrataReport:
    """The verdicts on a list of errata."""

    verdicts: tuple[ErratumVerdict, ...]

    @property
    def ok(self) -> bool:
        """Every printed form fails where its correction holds."""
        return all(v.passed for v in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return {"schema", "errata": [...]}, residuals of both forms side by side."""
        errata = [
            {
                "id": v.erratum.id,
                "where": v.erratum.where,
                "sentence": v.erratum.sentence,
                "printed_residual": _finite(v.printed),
                "corrected_residual": _finite(v.corrected),
                "tolerance": v.erratum.tolerance,
                "passed": v.passed,
            }
            for v in self.verdicts
        ]
        return {"schema": 1, "errata": errata}

    def table(self) -> str:
        """Return aligned text: residuals as printed and as corrected, and the sentence."""
        lines = ["erratum  as printed  corrected  allowed  where"]
        for v in self.verdicts:
            e = v.erratum
            state = "" if v.passed else "  NOT CONFIRMED"
            lines.append(
                f"{e.id:<7}  {v.printed:10.1e}  {v.corrected:9.1e}  {e.tolerance:7.0e}  "
                f"{e.where}{state}"
            )
            lines.append(f"         {e.sentence}")
        confirmed = sum(v.passed for v in self.verdicts)
        lines += ["", f"{len(self.verdicts)} errata: {confirmed} confirmed"]
        return "\n".join(lines)


def verify(
    claims: Sequence[Claim],
    seed: int = 0,
    cases: int = 8,
    on_claim: Callable[[Verdict], None] | None = None,
) -> Report:
    """Judge every claim on `cases` cases, each at an address of its own.

    The residual of a form is its worst. A claim fails when its right form exceeds the tolerance,
    raises, or gives no number, and when a wrong form stays within the tolerance. on_claim sees
    each verdict as it falls.
    """
    verdicts = []
    for claim in claims:
        verdicts.append(_judge(claim, seed, cases))
        if on_claim:
            on_claim(verdicts[-1])
    return Report(tuple(verdicts))


def verify_errata(errata: Sequence[Erratum], seed: int = 0, cases: int = 8) -> ErrataReport:
    """Judge the printed and the corrected form of every erratum by one check."""
    return ErrataReport(
        tuple(
            ErratumVerdict(
                e,
                _worst_of_wrong(e.id, e.check, e.printed, seed, cases),
                _worst(e.id, e.check, e.corrected, seed, cases),
            )
            for e in errata
        )
    )


def select(claims: Sequence[Claim], patterns: Sequence[str], family: str = "") -> list[Claim]:
    """Return the claims whose id matches a pattern (`*` allowed) or begins with it, of a family.

    No pattern means all. Raises ValueError for a pattern or family that names no claim.
    """
    chosen = list(claims)
    if family:
        families = sorted({c.family for c in claims})
        chosen = [c for c in chosen if c.family.lower() == family.lower()]
        if not chosen:
            raise ValueError(f"no family {family!r}; {_suggest(family, families)}")
    if not patterns:
        return chosen
    for pattern in patterns:
        if not any(_matches(c.id, pattern) for c in chosen):
            raise ValueError(f"no claim {pattern!r}; {_suggest(pattern, [c.id for c in chosen])}")
    return [c for c in chosen if any(_matches(c.id, p) for p in patterns)]


def _judge(claim: Claim, seed: int, cases: int) -> Verdict:
    reason = ""
    try:
        residual = _worst(claim.id, claim.check, claim.right, seed, cases)
        if not residual <= claim.tolerance:
            reason = f"residual {residual:.3g} exceeds {claim.tolerance:.3g}"
    except Exception as error:
        residual, reason = math.nan, f"{type(error).__name__}: {error}"
    wrong = []
    for name, form in claim.wrong.items():
        worst = _worst_of_wrong(claim.id, claim.check, form, seed, cases)
        wrong.append(WrongVerdict(name, worst, not worst <= claim.tolerance))
    missed = [w.name for w in wrong if not w.caught]
    if missed and not reason:
        reason = f"the wrong form {missed[0]!r} passes: the check sees nothing"
    return Verdict(claim, residual, tuple(wrong), reason)


def _worst(name: str, check: Check, form: Form, seed: int, cases: int) -> float:
    """Return the largest residual over the cases; NaN if any is."""
    places = (Noise(seed).at(name, case) for case in range(cases))
    return float(np.max([check(form, place) for place in places]))


def _worst_of_wrong(name: str, check: Check, form: Form, seed: int, cases: int) -> float:
    """Return the same for a wrong form, which may well divide by zero or leave its domain."""
    try:
        with np.errstate(all="ignore"):
            return _worst(name, check, form, seed, cases)
    except (ArithmeticError, ValueError, np.linalg.LinAlgError):
        return math.inf


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) or name.startswith(pattern)


def _suggest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.4)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known[:8])} ..."


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
