"""What each system is accepted by: the committed evidence, and (slow) the measurement itself."""

import json

import pytest

from benchmarks.accept import ACCEPT, FOLDER
from refgen.systems import SYSTEMS

BARS = {
    "vae": {
        "linear_gap_nats": lambda v: abs(v) <= 0.02,
    },
    "gan": {
        "modes_best_of_three": lambda v: v >= 7,
        "discriminator_error": lambda v: v <= 0.03,
    },
    "ddpm": {
        "digits_precision": lambda v: v >= 0.75,
        "digits_recall": lambda v: v >= 0.5,
        "digits_copy_ratio": lambda v: v >= 0.9,
        "ring_bayes_distance": lambda v: v <= 0.03,
    },
    "realnvp": {
        "moons_gap_nats": lambda v: 0 <= v + 0.01 and v <= 0.1,
        "inverse_error": lambda v: v <= 1e-10,
        "logdet_error": lambda v: v <= 1e-9,
    },
    "classifier": {
        "digits_accuracy": lambda v: v >= 0.97,
        "fashion_accuracy": lambda v: v >= 0.84,
    },
}


def short(name, measured):
    """Return the figures that miss their bar."""
    return {k: measured[k] for k, meets in BARS[name].items() if not meets(measured[k])}


def test_every_system_has_a_bar_and_a_measurement():
    assert set(SYSTEMS) == set(ACCEPT) == set(BARS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_committed_evidence_meets_the_bar(name):
    document = json.loads((FOLDER / f"{name}.json").read_text())
    assert document["bar"] == SYSTEMS[name].bar
    assert document["command"] == f"python -m benchmarks --accept {name}"
    assert short(name, document["measured"]) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_measurement_meets_the_bar(name):
    assert short(name, ACCEPT[name]()) == {}
