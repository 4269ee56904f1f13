"""The kernels together: a UNet's gradients, a short training and its samples, beside NumPy's."""

import numba
import numpy as np
import pytest

from refgen import ops, tree
from refgen.data import load
from refgen.models import UNet
from refgen.noise import Noise
from refgen.objectives import NoisePrediction
from refgen.processes import SCHEDULES
from refgen.systems import build
from refgen.training import Recipe, start, take_step
from refgen_kernels import numba_cpu, overlay
from refgen_kernels.numba_cpu import conv
from tests.kernels.judging import TABLE, same_bits

GRADIENTS = 2e-5  # of the largest entry of each tensor


def objective(table, **options):
    net = UNet((16, 16, 3), channels=32, widths=(1, 2), attention=(1,), ops=table, **options)
    return NoisePrediction(net, SCHEDULES["linear"](1000), "simple", table)


def gradients(table, dtype, params, **options):
    run = objective(table, **options)
    images = Noise(1).at("images").normal((6, 16, 16, 3), dtype=np.float32).astype(dtype)
    terms, cache = run.forward(tree.map(lambda a: a.astype(dtype), params), images, Noise(2))
    grads = run.backward(np.full(6, 1 / 6, dtype), cache)
    return terms["loss"], tree.flatten(grads)


def parameters(**options):
    """Return parameters away from where blocks and outputs start as 0."""
    drawn = objective(ops, **options).model.init(Noise(0))
    rng = np.random.default_rng(0)
    return tree.map(lambda a: (a + 0.05 * rng.normal(size=a.shape)).astype(np.float32), drawn)


@pytest.mark.parametrize("steering", ["added", "film"])
def test_gradients_of_a_unet_are_those_of_float64(steering):
    params = parameters(steering=steering)
    gold_loss, gold = gradients(ops, np.float64, params, steering=steering)
    loss, found = gradients(TABLE, np.float32, params, steering=steering)
    np.testing.assert_allclose(loss, gold_loss, rtol=1e-5)
    for path, g in gold.items():
        assert np.abs(found[path] - g).max() <= GRADIENTS * np.abs(g).max(), path


def test_exact_convolutions_bring_the_gradients_closer():
    params = parameters()
    _, gold = gradients(ops, np.float64, params)

    def error():
        _, found = gradients(TABLE, np.float32, params)
        return np.mean([np.abs(found[p] - g).max() / np.abs(g).max() for p, g in gold.items()])

    fast = error()
    with conv.exact():
        assert error() < 0.75 * fast  # the float32 page itself is at half of it


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core only")
def test_the_number_of_threads_changes_no_bit_of_a_unet():
    params, before, results = parameters(), numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            results.append(gradients(TABLE, np.float32, params)[1])
    finally:
        numba.set_num_threads(before)
    assert all(same_bits(results[0][path], results[1][path]) for path in results[0])


def test_a_step_of_a_large_unet_runs_on_kernels_alone(monkeypatch):
    """No hot op falls back to its page: each has a kernel for what a UNet gives it."""
    hot = ("conv2d", "upsample_conv2d", "group_norm_silu", "group_norm", "attention", "shift")
    pages = {
        f"{op}_{way}": getattr(ops, f"{op}_{way}") for op in hot for way in ("forward", "backward")
    }
    for name, page in pages.items():
        module = __import__(page.__module__, fromlist=["page"])

        def refuse(*given, name=name, **static):
            raise AssertionError(f"{name} went to the page")

        monkeypatch.setattr(module, name, refuse)
        monkeypatch.setattr(ops, name, refuse)
    params = parameters()
    run = objective(overlay(numba_cpu))
    images = np.ones((64, 16, 16, 3), np.float32)
    terms, cache = run.forward(params, images, Noise(2))
    grads = run.backward(np.full(64, 1 / 64, np.float32), cache)
    assert np.isfinite(terms["loss"]).all()
    assert tree.flatten(grads).keys() == tree.flatten(params).keys()


def test_a_step_takes_no_memory_from_the_system_after_the_first():
    params, memory = parameters(), numba_cpu.arrays.memory
    gradients(TABLE, np.float32, params)
    taken = memory.lent + memory.kept
    for _ in range(2):
        gradients(TABLE, np.float32, params)
    assert memory.lent + memory.kept == taken


def test_training_by_kernels_is_training_by_numpy():
    """Ten steps of the UNet of digits from the same seed, then the same samples, to rounding."""
    data = load("digits")
    recipe = Recipe(steps=10, batch=32, lr=1e-4)
    samples = []
    for table in (ops, TABLE):
        settings = {"model": "unet", "hidden": 32, "T": 50, "ops": table}
        system = build("ddpm", data.shape, settings)
        state = start(system, recipe)
        for _ in range(recipe.steps):
            state, _ = take_step(system, data, recipe, state)
        samples.append(system.sample(state.average, 8, Noise(0), sampler="ddim", steps=10))
    spread = samples[0].std()
    np.testing.assert_allclose(samples[1], samples[0], atol=1e-3 * spread)
