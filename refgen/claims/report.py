"""What verifying found, as a table for a reader and as JSON for a program."""

import math
from dataclasses import dataclass
from typing import Any

from refgen.claims.claim import Claim, Erratum

SCHEMA = 1


@dataclass(frozen=True)
class WrongVerdict:
    """What the check said of one wrong form."""

    name: str
    residual: float  # the worst of the cases; not finite where the form broke down
    caught: bool


@dataclass(frozen=True)
class Verdict:
    """What the check said of a claim."""

    claim: Claim
    residual: float  # of the right form, the worst of the cases; nan where the check raised
    wrong: tuple[WrongVerdict, ...]
    reason: str = ""  # why the claim fails, in words; empty where it holds

    @property
    def passed(self) -> bool:
        """True where the right form holds and every wrong one is caught."""
        return not self.reason

    @property
    def caught(self) -> int:
        """How many wrong forms were caught."""
        return sum(w.caught for w in self.wrong)

    def to_json(self) -> dict[str, Any]:
        """Return this claim's entry of the verify document."""
        return {
            "id": self.claim.id,
            "family": self.claim.family,
            "sources": list(self.claim.sources),
            "residual": _number(self.residual),
            "tolerance": self.claim.tolerance,
            "passed": self.passed,
            "wrong_forms": [
                {"name": w.name, "residual": _number(w.residual), "caught": w.caught}
                for w in self.wrong
            ],
        }


@dataclass(frozen=True)
class Report:
    """The verdicts on a list of claims; print its table."""

    verdicts: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        """True where every claim holds."""
        return all(v.passed for v in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return the document of `refgen verify --json`; numbers that are not finite are null."""
        summary = {
            "claims": len(self.verdicts),
            "passed": sum(v.passed for v in self.verdicts),
            "wrong_forms": sum(len(v.wrong) for v in self.verdicts),
            "caught": sum(v.caught for v in self.verdicts),
        }
        claims = [v.to_json() for v in self.verdicts]
        return {"schema": SCHEMA, "claims": claims, "summary": summary}

    def table(self) -> str:
        """Return one line for each claim, family by family, and the count."""
        width = max((len(v.claim.id) for v in self.verdicts), default=0)
        families = dict.fromkeys(v.claim.family for v in self.verdicts)
        lines = []
        for family in families:
            title = f"  {'residual':>9}  {'tolerance':>9}  caught"
            lines.append(f"{family:<{width + 2}}{title}")
            lines += [_row(v, width) for v in self.verdicts if v.claim.family == family]
            lines.append("")
        s = self.to_json()["summary"]
        lines.append(
            f"{_count(s['claims'], 'claim')}: {s['passed']} hold, "
            f"{s['caught']} of {_count(s['wrong_forms'], 'wrong form')} caught"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class ErratumVerdict:
    """What the check said of a printed equation and of the corrected one."""

    erratum: Erratum
    printed: float  # the worst residual of the cases; not finite where the form broke down
    corrected: float
    reason: str = ""  # why this erratum is not shown; empty where it is

    @property
    def passed(self) -> bool:
        """True where the printed form fails and the corrected one holds."""
        return not self.reason


@dataclass(frozen=True)
class ErrataReport:
    """The verdicts on a list of misprints; print its table."""

    verdicts: tuple[ErratumVerdict, ...]

    @property
    def ok(self) -> bool:
        """True where every misprint is shown to be one."""
        return all(v.passed for v in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return the document of `refgen verify --errata --json`."""
        errata = [
            {
                "id": v.erratum.id,
                "where": v.erratum.where,
                "sentence": v.erratum.sentence,
                "printed": _number(v.printed),
                "corrected": _number(v.corrected),
                "tolerance": v.erratum.tolerance,
                "passed": v.passed,
            }
            for v in self.verdicts
        ]
        summary = {"errata": len(errata), "passed": sum(v.passed for v in self.verdicts)}
        return {"schema": SCHEMA, "errata": errata, "summary": summary}

    def table(self) -> str:
        """Return one line for each misprint, what it says wrongly beneath, and the count."""
        width = max((len(v.erratum.id) for v in self.verdicts), default=0)
        lines = [f"{'':<{width}}  {'printed':>9}  {'corrected':>9}  {'tolerance':>9}"]
        for v in self.verdicts:
            numbers = (v.printed, v.corrected, v.erratum.tolerance)
            row = "  ".join(f"{n:>9.2g}" for n in numbers)
            verdict = "shown" if v.passed else f"FAILED: {v.reason}"
            lines.append(f"{v.erratum.id:<{width}}  {row}  {verdict}")
            lines.append(f"{'':<{width}}  {v.erratum.where}: {v.erratum.sentence}")
        shown = sum(v.passed for v in self.verdicts)
        noun = "erratum" if len(self.verdicts) == 1 else "errata"
        lines += ["", f"{shown} of {len(self.verdicts)} {noun} shown"]
        return "\n".join(lines)


def _row(v: Verdict, width: int) -> str:
    caught = f"{v.caught}/{len(v.wrong)}"
    numbers = f"{v.residual:>9.2g}  {v.claim.tolerance:>9.2g}  {caught:>6}"
    return f"  {v.claim.id:<{width}}  {numbers}  {'ok' if v.passed else f'FAILED: {v.reason}'}"


def _number(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
