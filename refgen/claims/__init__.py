"""The executable equations of the lectures, one module a family, and the misprints among them."""

from refgen.claims.claim import Claim, Erratum, select
from refgen.claims.judge import verify, verify_errata
from refgen.claims.report import ErrataReport, ErratumVerdict, Report, Verdict, WrongVerdict

CLAIMS: tuple[Claim, ...] = ()
ERRATA: tuple[Erratum, ...] = ()

__all__ = [
    "CLAIMS",
    "ERRATA",
    "Claim",
    "ErrataReport",
    "Erratum",
    "ErratumVerdict",
    "Report",
    "Verdict",
    "WrongVerdict",
    "select",
    "verify",
    "verify_errata",
]
