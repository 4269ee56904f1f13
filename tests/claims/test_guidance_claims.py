"""The claims on guidance and on conditional interfaces hold, and their wrong forms are caught."""

import pytest

from refgen.claims import guidance, interfaces
from refgen.claims.judge import verify, verify_errata

pytestmark = pytest.mark.tiny
CLAIMS = (*guidance.CLAIMS, *interfaces.CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: c.id)
def test_a_claim_holds_where_it_was_not_made_and_catches_its_wrong_forms(claim):
    for seed in (0, 1):
        report = verify([claim], seed=seed, cases=5)
        assert report.ok, report.table()


@pytest.mark.parametrize("erratum", guidance.ERRATA, ids=lambda e: e.id)
def test_the_misprint_fails_where_its_correction_holds(erratum):
    report = verify_errata([erratum], seed=1, cases=5)
    assert report.ok, report.table()
