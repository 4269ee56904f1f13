"""The whole steps that are timed have the right gradients, and are the same steps in PyTorch."""

import numpy as np
import pytest

from benchmarks import contenders_numba, steps
from benchmarks.cases import Case
from benchmarks.unet import UNet
from refgen import ops, tree
from refgen.noise import Noise

UNET = Case("unet", "train_step", {"N": 3, "S": (8, 12, 3), "C": 16})
VAE = Case("vae", "train_step", {"N": 5, "S": (784,)})
SAMPLE = Case("unet", "sample", {"N": 2, "S": (4, 4, 3), "C": 16})


def widened(case):
    return tree.map(lambda a: a.astype(np.float64), steps.params_of(case))


def test_the_gradient_of_the_unet_is_its_slope_in_any_direction():
    rng = np.random.default_rng(0)
    model, params = UNet(16), widened(UNET)
    x, t, dy = rng.normal(size=(2, 4, 4, 3)), np.array([3.0, 700.0]), rng.normal(size=(2, 4, 4, 3))
    y, cache = model.forward(params, x, t)
    dx, grads = model.backward(dy, cache)
    along = tree.map(lambda a: rng.normal(size=a.shape), params)
    x_along, h = rng.normal(size=x.shape), 1e-5

    def moved(by):
        there = tree.map(lambda a, b: a + by * b, params, along)
        return np.vdot(dy, model.forward(there, x + by * x_along, t)[0])

    slope = (moved(h) - moved(-h)) / (2 * h)
    assert tree.dot(grads, along) + np.vdot(dx, x_along) == pytest.approx(slope, rel=1e-7)
    assert y.shape == x.shape


def test_every_filter_matters_to_the_gradient():
    for grad in steps.evidence(ops, UNET, np.float64):
        assert np.abs(grad).max() > 0


def test_weights_of_the_unet_are_drawn_where_training_would_start_at_zero():
    params = UNet(16).init(Noise(0))
    assert params["last"]["w"].any()
    assert params["before"]["conv2"]["w"].any()


def test_a_step_moves_every_parameter_and_goes_on():
    moved = []

    class Watched:
        """The reference; remembers what Adam was given."""

        def __getattr__(self, name):
            return getattr(ops, name)

        def adam_ema_step(self, p, g, *rest, step, **static):
            moved.append(step)
            return ops.adam_ema_step(p, g, *rest, step=step, **static)

    step = steps.build(Watched(), VAE)
    step()
    step()
    assert moved == [1] * 8 + [2] * 8


def test_kernels_take_the_same_step():
    for case in (UNET, VAE, SAMPLE):
        gold = steps.evidence(ops, case, np.float64)
        for g, a in zip(gold, steps.evidence(contenders_numba.TABLE, case), strict=True):
            assert a.dtype == np.float32
            assert np.abs(a - g).max() <= 2e-5 * np.abs(g).max()


def test_sampling_is_the_same_walk_every_time():
    params = steps.params_of(SAMPLE)
    first, second = (steps.sample(ops, SAMPLE, params) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == (2, 4, 4, 3)


def test_the_arithmetic_of_a_vae_is_that_of_four_matrices():
    assert steps.flops(VAE) == 3 * 2 * 5 * (784 * 256 + 256 * 4 + 2 * 256 + 256 * 784)


def test_the_arithmetic_of_a_unet_is_that_of_its_layers():
    """Of one pixel: at full size, at half size, and of one example: the time."""
    c, pixels = 16, 8 * 12
    full = 9 * 3 * c + 2 * 9 * c * c + 9 * 2 * c * c + (9 * 2 * c * c + 9 * c * c + 2 * c * c)
    full += 9 * c * 3
    half = 9 * c * 2 * c + 4 * 9 * 4 * c * c
    time = c * 128 + 128 * 128 + 128 * (c + 2 * c + 2 * c + c)
    forward = 2 * (pixels * full + pixels // 4 * half + time)
    assert steps.flops(UNET) == 3 * 3 * forward
    assert steps.flops(SAMPLE) == 50 * 2 * 2 * (16 * full + 4 * half + time)


# PyTorch, where it is installed.


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is a baseline here")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)


@pytest.fixture
def in_float64(torch):
    kind = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch.float64
    torch.set_default_dtype(kind)


@pytest.mark.parametrize("case", [UNET, VAE], ids=lambda case: case.op)
def test_all_gradients_are_pytorchs(case, in_float64):
    from benchmarks import steps_torch as their

    model, data = their.model_of(case), their.data_of(case, in_float64)
    theirs = their.gradients(model, their.loss_with_noise_of_refgen(model, case, data))
    ours = steps.evidence(ops, case, np.float64)
    assert len(ours) == len(theirs) == (56 if case.op == "unet" else 8)
    for g, t in zip(ours, theirs, strict=True):
        assert g.shape == t.shape
        assert np.abs(g - t).max() <= 1e-10 * np.abs(g).max()


@pytest.mark.parametrize("case", [UNET, VAE, SAMPLE], ids=lambda case: case.name)
def test_pytorch_counts_the_same_arithmetic(case, torch):
    from benchmarks import steps_torch as their

    assert their.flops(case) == steps.flops(case)


def test_pytorch_walks_to_the_same_samples(torch):
    from benchmarks import steps_torch as their

    theirs, ours = their.evidence(SAMPLE)[0], steps.evidence(ops, SAMPLE, np.float64)[0]
    assert np.abs(theirs - ours).max() <= 1e-4 * ours.std()


@pytest.mark.parametrize("case", [UNET, VAE], ids=lambda case: case.op)
def test_pytorchs_step_moves_every_parameter(case, torch, monkeypatch):
    from benchmarks import steps_torch as their

    model = their.model_of(case)
    monkeypatch.setattr(their, "model_of", lambda case: model)
    before = [p.detach().clone() for p in model.parameters()]
    their.build(case)()
    assert all((p != b).any() for p, b in zip(model.parameters(), before, strict=True))
