"""`refgen verify` on claims made for it; the project's own are tested where they are made."""

import json
from dataclasses import replace

import pytest


def doubled(form, noise):
    x = float(noise.normal(1)[0])
    return abs(form(x) - (x + x))


@pytest.fixture
def three(monkeypatch):
    """Put three claims and an erratum in the place of the project's."""
    from refgen import claims
    from refgen.claims import Claim, Erratum

    right, wrong = (lambda x: 2 * x), {"the factor is 3": lambda x: 3 * x}
    made = tuple(
        Claim(id, "2x = x + x", id.split(".")[0], (source,), right, wrong, doubled, 1e-12)
        for id, source in [
            ("sums.double", "kingma2014-vae"),
            ("sums.half", 'L1 "a slide"'),
            ("other.double", 'L2 "a slide"; ho2020-ddpm'),
        ]
    )
    erratum = Erratum("E01", "L1 slide", "a factor", wrong["the factor is 3"], right, doubled, 1e-9)
    monkeypatch.setattr(claims, "CLAIMS", made)
    monkeypatch.setattr(claims, "ERRATA", (erratum,))
    return made


def test_claims_hold_and_wrong_forms_are_caught(refgen, tmp_path, three):
    answer = refgen("verify", "--cases", 2, "--errata", "--json", "report.json")
    assert answer.code == 0, answer.out
    assert all(claim.id in answer.out for claim in three)
    assert "3 claims" in answer.out
    assert "E01" in answer.out
    assert "checking 3 claims, 2 cases each, seed 0" in answer.err
    assert answer.err.count("sums") == 1  # one line for a family
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["schema"] == 1
    assert report["summary"] == {"claims": 3, "passed": 3, "wrong_forms": 3, "caught": 3}
    assert [e["id"] for e in report["errata"]] == ["E01"]


def test_json_alone_goes_to_stdout(refgen, three):
    answer = refgen("verify", "--cases", 1, "--json", "-", "--quiet")
    assert answer.code == 0
    assert answer.err == ""
    keys = {"id", "family", "sources", "residual", "tolerance", "passed", "wrong_forms"}
    assert all(keys == set(claim) for claim in json.loads(answer.out)["claims"])


def test_a_claim_that_does_not_hold_exits_with_1(refgen, three, monkeypatch):
    from refgen import claims

    broken = replace(three[0], right=lambda x: 3 * x)
    monkeypatch.setattr(claims, "CLAIMS", (broken, *three[1:]))
    answer = refgen("verify", "--cases", 2)
    assert answer.code == 1
    assert "FAILED" in answer.out


def test_a_misprint_that_holds_exits_with_1(refgen, three, monkeypatch):
    from refgen import claims

    true = replace(claims.ERRATA[0], printed=lambda x: 2 * x)
    monkeypatch.setattr(claims, "ERRATA", (true,))
    assert refgen("verify").code == 0
    assert refgen("verify", "--errata").code == 1


def test_a_family_and_a_pattern_choose_claims(refgen, three):
    def chosen(*words):
        answer = refgen("verify", *words, "--json", "-")
        assert answer.code == 0
        return [claim["id"] for claim in json.loads(answer.out)["claims"]]

    assert chosen("--family", "sums") == ["sums.double", "sums.half"]
    assert chosen("*.double") == ["sums.double", "other.double"]
    assert chosen("sums", "--seed", 5) == ["sums.double", "sums.half"]
    near = refgen("verify", "--family", "sumz")
    assert near.code == 2
    assert "did you mean sums?" in near.err


def test_cite_knows_the_papers_of_a_claim(refgen, three):
    answer = refgen("cite", "sums.double", "other.double")
    assert answer.code == 0
    assert "{kingma2014-vae," in answer.out
    assert "{ho2020-ddpm," in answer.out
    lecture = refgen("cite", "sums.half")
    assert lecture.code == 2
    assert "names no paper" in lecture.err
