"""The claims on policies hold at any seed, and one case is enough to catch every wrong form."""

import pytest

from refgen.claims import verify
from refgen.claims.cloning import CLAIMS

pytestmark = pytest.mark.tiny


@pytest.mark.parametrize("seed", [0, 1, 7, 100])
def test_the_claims_hold_and_their_wrong_forms_are_caught(seed):
    report = verify(CLAIMS, seed=seed, cases=1)
    assert report.ok, report.table()


def test_no_wrong_form_is_caught_by_a_hair():
    verdicts = verify(CLAIMS, seed=1, cases=3).verdicts
    assert all(w.residual > 3 * v.claim.tolerance for v in verdicts for w in v.wrong)
