"""Bounds on one short schedule: what is expected of them, and those of small networks."""

import numpy as np
import pytest
from hypothesis import strategies as st

from refgen.models import TimeMLP
from refgen.noise import Noise
from refgen.objectives.hybrid import TwoHeads
from refgen.objectives.variational import VariationalBound
from refgen.processes.discrete import of_schedule
from refgen.processes.schedule import linear
from tests.objectives.models import Best, some

seeds = st.integers(0, 2**31)
KINDS = ("noise", "data", "v", "score", "mean")
SCHEDULE = linear(8, 0.02, 0.4)
each_kind = pytest.mark.parametrize("kind", KINDS)


def best_lines(world, kind):
    """Return the exact prediction of a Gaussian world as a linear predictor."""
    best = Best(world, of_schedule(SCHEDULE), kind)
    ends = np.array([[0.0], [1.0]])
    at = [best.forward({}, ends, np.full(2, t))[0][:, 0] for t in range(1, SCHEDULE.T + 1)]
    offset = np.array([0.0] + [y[0] for y in at])
    return {"offset": offset, "slope": np.array([0.0] + [y[1] for y in at]) - offset}


def expected(bound, params, x0):
    """Return every term (T, N) on average over the noise, exact for what is quadratic in it."""
    T, found = bound.schedule.T, []
    for t in range(1, T + 1):
        nats = [
            bound.value(params, x0[:, None], np.full((len(x0), 1), sign), np.full(len(x0), t))
            for sign in (-1.0, 1.0)
        ]
        found.append(0.5 * (nats[0].term.nats + nats[1].term.nats))
    return np.stack(found)


def some_bound(kind, variance, bins, schedule=SCHEDULE):
    """Return a bound of a small network, and its parameters."""
    network = TimeMLP(3, 5, 1, embedding=4)
    model = TwoHeads(network, network) if variance == "learned" else network
    return VariationalBound(model, schedule, kind, variance, bins), some(model, Noise(1))
