"""Samples in one step or a few, from networks that were trained for minutes."""

import numpy as np
import pytest

from refgen.data import load
from refgen.noise import Noise
from refgen.systems.consistency import ConsistencyModel
from refgen.systems.progressive_distillation import Progressive
from refgen.systems.system import draw
from refgen.training import Recipe, train


@pytest.mark.slow
@pytest.mark.parametrize("taught", [False, True])
def test_a_trained_consistency_model_finds_both_modes_in_one_call(taught):
    system = ConsistencyModel(
        (1,), hidden=64, taught=taught, first=0.02, last=10.0, data_std=1.5, sample_steps=1
    )
    state = train(system, load("toy:bimodal"), Recipe(3000, batch=256, lr=2e-3))
    x = draw(system, state.average, 10_000, Noise(0))
    assert abs(np.mean(x < 0) - 1 / 3) < 0.06
    assert x[x > 0].mean() == pytest.approx(1.5, abs=0.1)


@pytest.mark.slow
def test_a_trained_student_walks_nearer_to_its_teachers_end_than_the_teacher_in_as_few_steps():
    system = Progressive((1,), first=16, last=4, hidden=64)
    state = train(system, load("toy:bimodal"), Recipe(2500, batch=256, lr=2e-3))
    own, end, rushed = (
        draw(system, state.average, 2000, Noise(0), **asked)
        for asked in ({}, {"sampler": "teacher"}, {"sampler": "teacher", "steps": 4})
    )
    assert np.mean((own - end) ** 2) < 0.3 * np.mean((rushed - end) ** 2)
