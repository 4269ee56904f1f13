"""The judge of the others."""

import statistics

import numpy as np

from benchmarks.accept.measuring import SEEDS, Bars, Measured, trained
from refgen.data import load


def accept_classifier() -> Measured:
    """Digits and clothes: how often it is right on held-out images."""
    found: Measured = {}
    for name in ("digits", "fashion"):
        train_set, held_out = load(name).split()
        rates = []
        for seed in SEEDS:
            system, state = trained("classifier", train_set, seed)
            right = system.labels(state.average, held_out.data) == held_out.labels
            rates.append(float(np.mean(right)))
        found[f"{name}_accuracy"] = statistics.median(rates)
    return found


MEASURE = {"classifier": accept_classifier}
BARS: dict[str, Bars] = {
    "classifier": {"digits_accuracy": (">=", 0.97), "fashion_accuracy": (">=", 0.84)}
}
