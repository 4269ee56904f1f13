"""Every claim holds and catches its wrong forms; and the runner itself can say no."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refgen.claims import CLAIMS, ERRATA, Claim, Erratum, select, verify, verify_errata
from refgen.noise import Noise

BIB = (Path(__file__).parents[2] / "refgen" / "sources.bib").read_text()
KEYS = set(re.findall(r"^@\w+\{([^,]+),", BIB, re.M))
LECTURE = re.compile(r'L[0-4] "[^"]+"')
NAME = re.compile(r"[a-z0-9]+\.[A-Za-z][A-Za-z0-9_()/]*")
ids = [claim.id for claim in CLAIMS]


@pytest.mark.parametrize("claim", CLAIMS, ids=ids)
def test_a_claim_holds_where_it_was_not_made(claim):
    report = verify([claim], seed=1, cases=3)
    assert report.ok, report.table()


@pytest.mark.parametrize("erratum", ERRATA, ids=[e.id for e in ERRATA])
def test_a_misprint_fails_where_its_correction_holds(erratum):
    report = verify_errata([erratum], seed=1, cases=3)
    assert report.ok, report.table()


# What the lists must be


def test_names_are_well_formed_and_unique():
    assert [i for i in ids if not NAME.fullmatch(i)] == []
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"E\d\d", e.id) for e in ERRATA)
    assert len({e.id for e in ERRATA}) == len(ERRATA)


@pytest.mark.parametrize("claim", CLAIMS, ids=ids)
def test_a_claim_says_what_it_is_and_where_it_comes_from(claim):
    assert claim.sources
    for source in claim.sources:
        assert LECTURE.match(source) or source.split()[0] in KEYS, f"unknown source {source!r}"
    assert claim.wrong, "no wrong form"
    assert claim.tolerance >= 0
    plain = claim.statement.replace(r"\{", "").replace(r"\}", "")
    assert plain.count("{") == plain.count("}"), "the LaTeX does not close its braces"
    left, right = (re.findall(rf"\\{side}(?![a-z])", plain) for side in ("left", "right"))
    assert len(left) == len(right)
    assert "$" not in claim.statement
    assert not any(ord(c) < 32 for c in claim.statement), "not a raw string"


def test_a_family_stands_in_one_piece():
    families = [claim.family for claim in CLAIMS]
    assert {"inference", "vae", "gan", "flows", "diffusion"} <= set(families)


# The runner


def planted(**changes) -> Claim:
    """Return the claim that a form doubles its argument, with one wrong form."""

    def check(form, noise: Noise) -> float:
        x = noise.normal((4,))
        return float(np.max(np.abs(form(x) - (x + x))))

    claim = Claim("test.double", "2x=x+x", "test", ('L0 "none"',), *[None] * 2, check, 1e-12)
    return replace(claim, **{"right": lambda x: 2 * x, "wrong": {"half": lambda x: x}} | changes)


def the_verdict(claim: Claim, **options):
    (verdict,) = verify([claim], **options).verdicts
    return verdict


def test_a_claim_that_is_true_and_can_fail_passes():
    verdict = the_verdict(planted())
    assert verdict.passed
    assert verdict.reason == ""
    assert verdict.residual == 0
    assert verdict.wrong[0].caught
    assert verdict.wrong[0].residual > 0.5


def test_a_claim_that_is_false_fails():
    report = verify([planted(right=lambda x: 2.1 * x)])
    assert not report.ok
    assert "exceeds" in report.verdicts[0].reason


def test_a_claim_without_a_wrong_form_fails():
    assert "no wrong form" in the_verdict(planted(wrong={})).reason


def test_a_claim_whose_wrong_form_passes_fails():
    verdict = the_verdict(planted(wrong={"half": lambda x: x, "as well": lambda x: x + x}))
    assert not verdict.passed
    assert "as well" in verdict.reason
    assert "half" not in verdict.reason
    assert verdict.caught == 1


def test_a_check_that_does_not_look_is_found_out():
    assert not the_verdict(planted(check=lambda form, noise: 0.0)).passed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_right_form_without_a_number_fails(bad):
    verdict = the_verdict(planted(right=lambda x: bad * np.ones(4)))
    assert not verdict.passed
    assert "residual" in verdict.reason


def test_one_bad_case_among_many_is_enough():
    def check(form, noise):
        return math.nan if noise.path[-1] == 5 and form(1.0) == 2.0 else abs(form(1.0) - 2.0)

    assert the_verdict(planted(check=check), cases=5).passed
    assert "case 5" in the_verdict(planted(check=check), cases=6).reason


def test_a_right_form_that_raises_fails_and_says_why():
    def broken(x):
        raise KeyError("nothing here")

    verdict = the_verdict(planted(right=broken))
    assert "KeyError" in verdict.reason
    assert math.isnan(verdict.residual)


def test_a_negative_residual_is_no_excuse():
    assert not the_verdict(planted(check=lambda f, noise: -1.0 if f(1.0) == 2.0 else 1.0)).passed


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: np.sqrt(-np.abs(x)),
        lambda x: x / 0.0 * 0.0,
        lambda x: x @ np.ones((3, 3)),
        lambda x: math.log(-1.0),
        lambda x: 1 // 0,
        lambda x: np.linalg.inv(np.zeros((2, 2))),
    ],
    ids=["nan", "divides", "shape", "domain", "zero", "singular"],
)
def test_a_wrong_form_that_breaks_down_is_caught_in_silence(wrong):
    assert the_verdict(planted(wrong={"broken": wrong})).passed  # pytest runs with -W error


def test_a_wrong_form_with_a_slip_in_its_code_is_not_caught_by_accident():
    verdict = the_verdict(planted(wrong={"slip": lambda x: undefined_name}))  # noqa: F821
    assert not verdict.passed
    assert not verdict.wrong[0].caught
    assert "NameError" in verdict.reason


def test_a_case_is_its_address():
    seen = []

    def check(form, noise):
        seen.append((noise.seed, noise.path))
        return abs(form(1.0) - 2.0)

    verify([planted(check=check)], seed=7, cases=2)
    assert seen[:2] == [(7, ("test.double", 0)), (7, ("test.double", 1))]
    assert seen[2:] == seen[:2], "a wrong form must see the same cases"


def test_no_cases_are_no_proof():
    with pytest.raises(ValueError, match="at least 1 case"):
        verify([planted()], cases=0)


def test_verdicts_are_told_as_they_fall():
    told = []
    report = verify([planted(), planted(id="test.other")], on_claim=told.append)
    assert tuple(told) == report.verdicts


# What it reports


def test_the_document_has_the_agreed_shape():
    broken = planted(id="test.nan", right=lambda x: math.nan * x)
    document = verify([planted(wrong={"nan": lambda x: math.nan * x}), broken]).to_json()
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document
    assert set(document) == {"schema", "claims", "summary"}
    assert document["schema"] == 1
    assert document["summary"] == {"claims": 2, "passed": 1, "wrong_forms": 2, "caught": 2}
    assert document["claims"][0] == {
        "id": "test.double",
        "family": "test",
        "sources": ['L0 "none"'],
        "residual": 0.0,
        "tolerance": 1e-12,
        "passed": True,
        "wrong_forms": [{"name": "nan", "residual": None, "caught": True}],
    }
    assert document["claims"][1]["residual"] is None


def test_the_table_is_aligned_and_counts():
    short, long = planted(), planted(id="test.a_longer_name", right=lambda x: 3 * x)
    *rows, last = verify([short, long]).table().splitlines()
    assert last == "2 claims: 1 hold, 2 of 2 wrong forms caught"
    header, first, second = rows[:3]
    assert header.startswith("test ")
    assert first.index("1/1") == second.index("1/1")
    assert first.endswith("ok")
    assert "FAILED: residual" in second


def misprint(**changes) -> Erratum:
    claim = planted()
    erratum = Erratum(
        "E99", "L0 none", "wrong", claim.wrong["half"], claim.right, claim.check, 1e-9
    )
    return replace(erratum, **changes)


def test_an_erratum_needs_a_printed_form_that_fails_and_a_correction_that_holds():
    assert verify_errata([misprint()]).ok
    fine = verify_errata([misprint(printed=lambda x: 2 * x)])
    assert not fine.ok
    assert "printed form passes" in fine.table()
    wrong = verify_errata([misprint(corrected=lambda x: 3 * x)])
    assert not wrong.ok
    assert "exceeds" in wrong.table()
    entry = verify_errata([misprint(printed=lambda x: 1 // 0)]).to_json()["errata"][0]
    assert entry["printed"] is None
    assert entry["corrected"] == 0.0
    assert entry["passed"]


# Choosing


def chosen(*patterns: str, family: str = "") -> list[str]:
    return [c.id for c in select(CLAIMS, patterns, family)]


def test_claims_are_chosen_by_beginning_by_pattern_and_by_family():
    assert chosen() == ids
    assert chosen("vae.kl") == [i for i in ids if i.startswith("vae.kl")]
    assert chosen("*.kl_*") == [i for i in ids if ".kl_" in i]
    assert chosen("gan.optimal_d") == ["gan.optimal_D"]
    assert chosen("gan", "vi") == [i for i in ids if i[:3] in ("gan", "vi.")]
    assert chosen(family="GAN") == [c.id for c in CLAIMS if c.family == "gan"]
    assert chosen("gauss", family="vae") == [
        i for i in ids if i.startswith("gauss.") and i != "gauss.sum"
    ]


def test_a_name_that_nothing_answers_to_is_refused_with_the_likely_one():
    with pytest.raises(ValueError, match=r"did you mean .*vae.kl_isotropic"):
        chosen("vae.kl_isotopic")
    with pytest.raises(ValueError, match="did you mean inference"):
        chosen(family="inferense")
    with pytest.raises(ValueError, match=r"there are .*gan"):
        chosen("zzzzzzzzzzzzz")
    with pytest.raises(ValueError, match="no claim matches"):
        chosen("vae.kl", family="gan")
