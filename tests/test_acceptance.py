"""What each system is accepted by: the committed evidence, and (slow) the measurement itself."""

import json

import pytest

from benchmarks.accept import ACCEPT, BARS, FOLDER, short
from refgen.systems import SYSTEMS


def test_every_system_has_a_bar_and_a_measurement():
    assert set(SYSTEMS) == set(ACCEPT) == set(BARS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_committed_evidence_meets_the_bar(name):
    document = json.loads((FOLDER / f"{name}.json").read_text())
    assert document["bar"] == SYSTEMS[name].bar
    assert document["bars"] == {figure: list(bar) for figure, bar in BARS[name].items()}
    assert document["command"] == f"python -m benchmarks --accept {name}"
    assert short(name, document["measured"]) == {}


def test_a_figure_that_misses_its_bar_is_named():
    good = {"linear_gap_nats": 0.01}
    assert short("vae", good) == {}
    assert short("vae", {"linear_gap_nats": 0.03}) == {"linear_gap_nats": 0.03}
    assert short("classifier", {"digits_accuracy": 0.9, "fashion_accuracy": 0.9}) == {
        "digits_accuracy": 0.9
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_measurement_meets_the_bar(name):
    assert short(name, ACCEPT[name]()) == {}
