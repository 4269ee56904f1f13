"""`refgen verify` on a few claims; all of them are tested where they are made."""

import json

import pytest


@pytest.fixture
def few(monkeypatch):
    """Leave two claims of each family."""
    from refgen import claims

    kept = [
        claim
        for family in dict.fromkeys(c.family for c in claims.CLAIMS)
        for claim in [c for c in claims.CLAIMS if c.family == family][:2]
    ]
    monkeypatch.setattr(claims, "CLAIMS", tuple(kept))
    return kept


def test_claims_hold_and_wrong_forms_are_caught(refgen, tmp_path, few):
    answer = refgen("verify", "--cases", 2, "--errata", "--json", "report.json")
    assert answer.code == 0, answer.out
    assert all(claim.id in answer.out for claim in few)
    assert f"{len(few)} claims: {len(few)} hold" in answer.out
    assert "checking" in answer.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["schema"] == 1
    assert report["summary"]["claims"] == report["summary"]["passed"] == len(few)
    assert report["errata"]


def test_json_alone_goes_to_stdout(refgen, few):
    answer = refgen("verify", few[0].id, "--cases", 1, "--json", "-", "--quiet")
    assert answer.code == 0
    assert answer.err == ""
    (claim,) = json.loads(answer.out)["claims"]
    assert {"id", "family", "sources", "residual", "tolerance", "passed", "wrong_forms"} <= set(
        claim
    )


def test_a_claim_that_does_not_hold_exits_with_1(refgen, few, monkeypatch):
    from dataclasses import replace

    from refgen import claims

    wrong = next(iter(few[0].wrong.values()))
    monkeypatch.setattr(claims, "CLAIMS", (replace(few[0], right=wrong), few[1]))
    answer = refgen("verify", "--cases", 2)
    assert answer.code == 1
    assert "FAILED" in answer.out
    assert "2 claims: 1 hold" in answer.out


def test_a_family_and_a_pattern_choose_claims(refgen, few):
    family = few[-1].family
    answer = refgen("verify", "--family", family, "--cases", 1, "--json", "-")
    found = [claim["id"] for claim in json.loads(answer.out)["claims"]]
    assert found == [claim.id for claim in few if claim.family == family]
    answer = refgen("verify", f"{few[0].id[:-1]}*", "--cases", 1, "--json", "-")
    assert few[0].id in [claim["id"] for claim in json.loads(answer.out)["claims"]]


def test_cite_knows_the_papers_of_a_claim(refgen):
    from refgen.claims import CLAIMS

    claim = next(c for c in CLAIMS if "kingma2014-vae" in " ".join(c.sources))
    answer = refgen("cite", claim.id)
    assert answer.code == 0
    assert "{kingma2014-vae," in answer.out
