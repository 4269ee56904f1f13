"""Training on a device: whole steps by kernels, and nothing crosses but the row of the log.

Ducks stand for the device's arrays: they refuse to become NumPy's, to mix with them, and to be
looked at. What a GPU adds to this is speed.
"""

import importlib

import numpy as np
import pytest

from refgen import ops, tree
from refgen.cli import main
from refgen.data import load
from refgen.noise import Noise
from refgen.systems import build, draw
from refgen.training import Recipe, examples_for, resident, start, take_step, train
from refgen_kernels import cupy_cuda, overlay
from refgen_kernels.device import use
from tests.kernels.cuda.host import compiler
from tests.kernels.cuda.machines import Ducks

pytestmark = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")
TABLE = overlay(cupy_cuda)
SYSTEMS = {
    "unet": ("ddpm", "digits", {"model": "unet", "hidden": 16, "T": 20}),
    "dit": ("ddpm", "digits", {"model": "dit", "hidden": 32, "T": 20, "blocks": 1}),
    "mlp": ("ddpm", "toy:moons", {"model": "mlp", "hidden": 32, "T": 20}),
    "vae": ("vae", "digits", {}),
    "gan": ("gan", "toy:ring", {}),
    "dcgan": ("gan", "digits", {"model": "dcgan"}),
    "realnvp": ("realnvp", "toy:moons", {}),
    "classifier": ("classifier", "digits", {}),
}
STEPS = 3


def trained(name, table, machine=None):
    """Return the rows of a short training, its end, and what crossed at each step."""
    system_name, data, settings = SYSTEMS[name]
    recipe = Recipe(steps=STEPS, batch=6, lr=1e-4)
    data = load(data)
    system = build(system_name, data.shape, settings | {"ops": table})
    state = resident(system, start(system, recipe))
    examples, rows, crossed = examples_for(system, data), [], []
    for _ in range(STEPS):
        before = (machine.sent, machine.brought) if machine else (0, 0)
        state, row = take_step(system, examples, recipe, state)
        rows.append(row)
        if machine:
            crossed.append((machine.sent - before[0], machine.brought - before[1]))
    return system, state, rows, crossed


@pytest.mark.parametrize("name", SYSTEMS)
def test_nothing_crosses_in_a_step_but_its_row(name):
    """One fetch for each turn: means of the terms and squares of the gradients, in one array."""
    with use(Ducks()) as machine:
        system, _, rows, crossed = trained(name, TABLE, machine)
    turns = sum(turn.repeat for turn in system.turns())
    assert crossed == [(0, turns)] * STEPS
    _, _, by_numpy, _ = trained(name, ops)
    for row, page in zip(rows, by_numpy, strict=True):
        assert row.keys() == page.keys()
        for term, value in page.items():
            assert row[term] == pytest.approx(value, rel=2e-4, abs=1e-5), term


def test_samples_drawn_on_a_device_are_numpys_to_rounding():
    with use(Ducks()):
        system, state, _, _ = trained("unet", TABLE)
        found = draw(system, state.average, 3, Noise(0), sampler="ddim", steps=5)
    system, state, _, _ = trained("unet", ops)
    page = draw(system, state.average, 3, Noise(0), sampler="ddim", steps=5)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, page, atol=1e-3 * page.std())


def test_a_training_ends_in_ordinary_memory():
    data = load("toy:moons")
    with use(Ducks()):
        system = build("ddpm", data.shape, {"hidden": 8, "T": 4, "ops": TABLE})
        state = train(system, data, Recipe(steps=2, batch=4))
    assert all(isinstance(a, np.ndarray) for a in tree.leaves(state.params))
    assert all(isinstance(a, np.ndarray) for a in tree.leaves(state.moments))


def test_the_command_line_trains_and_samples_on_a_device(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cupy_cuda, "status", lambda: "ok")
    monkeypatch.chdir(tmp_path)
    tiny = ["--set", "hidden=8", "--set", "T=5", "--batch", "8"]
    with use(Ducks()):
        line = ["train", "ddpm", "--data", "toy:ring", "--steps", "3", "--out", "run", *tiny]
        assert main([*line, "--backend", "cupy"]) == 0
        said = capsys.readouterr()
        assert "backend cupy: " in said.err
        assert "ops by kernels" in said.err
        assert main(["sample", "run", "-n", "5", "--npz", "points.npz", "--out", "points.png"]) == 0
    with np.load("points.npz") as file:
        assert file["samples"].shape == (5, 2)
    assert (tmp_path / "points.png").stat().st_size > 1000


def test_a_step_of_a_unet_runs_on_kernels_alone(monkeypatch):
    """No hot op falls back to its page: each has a kernel for what a UNet gives it."""
    names = ("conv2d", "upsample_conv2d", "group_norm_silu", "group_norm", "attention", "dense")
    for name in (f"{op}_{way}" for op in names for way in ("forward", "backward")):
        page = getattr(ops, name)

        def refuse(*given, name=name, **static):
            raise AssertionError(f"{name} went to the page")

        monkeypatch.setattr(importlib.import_module(page.__module__), name, refuse)
    with use(Ducks()) as machine:
        _, state, rows, _ = trained("unet", TABLE, machine)
    assert state.step == len(rows) == STEPS
    assert all(np.isfinite(value) for row in rows for value in row.values())
