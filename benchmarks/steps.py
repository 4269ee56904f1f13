"""Whole steps, by refgen's own objectives, optimizer and sampler, over any table of ops.

    unet train_step    draw t and noise, mix, predict, compare, all gradients, Adam with average
    unet sample        fifty steps of DDIM from noise
    vae train_step     784 - 256 - 2 - 256 - 784, Bernoulli: encode, draw, decode, gradients, Adam

What is judged is the gradient of one step, or the sample, each from the same weights and noise.
"""

from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from benchmarks.calls import Call
from benchmarks.cases import Case
from benchmarks.unet import UNet
from refgen import ops, tree
from refgen.noise import Noise
from refgen.objectives import NoisePrediction
from refgen.ops.catalog import CATALOG
from refgen.ops.protocol import Ops
from refgen.processes import SCHEDULES, stride
from refgen.samplers import sample_ddim
from refgen.systems.vae import VAE
from refgen.training.optimizer import Adam
from refgen.typing import Array, Grads

PLACE = Noise(3).at("benchmarks")
JUDGED = PLACE.at("judged")  # where the noise of the step that is judged lies
SCHEDULE = SCHEDULES["linear"](1000)
STEPS = 50
PIXELS, HIDDEN, LATENT = 784, 256, 2
ADAM = Adam(updates=10**6, lr=1e-4)


def build(table: Ops, case: Case) -> Call:
    """Return the step that is timed: each call goes on from what the last has left."""
    params = params_of(case)
    if case.call == "sample":
        return lambda: sample(table, case, params)
    gradient, data = _gradient(table, case), data_of(case)
    moments, k = ADAM.start(params), 0

    def step() -> None:
        nonlocal params, moments, k
        k += 1
        grads = gradient(params, data, PLACE.at("step", k))
        params, moments = ADAM.update(table, params, grads, moments, k)

    return step


def evidence(table: Ops, case: Case, kind: type = np.float32) -> list[Array]:
    """Return what is judged, in that precision: all gradients in the order of paths, or samples."""
    params = tree.map(lambda a: a.astype(kind), params_of(case))
    if case.call == "sample":
        return [sample(table, case, params)]
    return list(tree.leaves(_gradient(table, case)(params, data_of(case).astype(kind), JUDGED)))


def flops(case: Case) -> float:
    """Count the arithmetic of the products: a forward by the catalogue; a gradient costs twice it.

    The first layers need no gradient of their input; that is left out of nobody's count.
    """
    each = _forward_flops(case.op, case.dims.get("C", 0), case.dims["S"])
    return each * int(case.dims["N"]) * (STEPS if case.call == "sample" else 3)


def params_of(case: Case) -> Any:
    """Draw the weights, float32."""
    vae = case.op == "vae"
    drawn = _vae(ops).init(PLACE)["model"] if vae else UNet(case.dims["C"]).init(PLACE)
    return tree.map(lambda a: a.astype(np.float32), drawn)


def data_of(case: Case) -> Array:
    """Draw a batch, float32 in [-1, 1]."""
    shape = (case.dims["N"], *case.dims["S"])
    return (2 * PLACE.at("data").uniform(shape) - 1).astype(np.float32)


def start_of(case: Case) -> Array:
    """Draw what sampling starts from, float32."""
    return PLACE.at("start").normal((case.dims["N"], *case.dims["S"]), dtype=np.float32)


def sample(table: Ops, case: Case, params: Any) -> Array:
    """Walk fifty steps."""
    network = UNet(case.dims["C"], table)

    def predict(x: Array, t: int) -> Array:
        return network.forward(params, x, np.full(len(x), t))[0]

    start = start_of(case).astype(next(tree.leaves(params)).dtype)
    times = stride(SCHEDULE.T, STEPS)
    return sample_ddim(predict, start, SCHEDULE, PLACE, times=times, ops=table)


def _gradient(table: Ops, case: Case) -> Callable[[Any, Array, Noise], Grads]:
    """Return the gradient of the mean loss, as a function of (params, batch, noise)."""
    if case.op == "vae":
        player = _vae(table).turns()[0]
        return lambda params, data, noise: player.gradient({"model": params}, data, noise)[1]
    objective = NoisePrediction(UNet(case.dims["C"], table), SCHEDULE, ops=table)

    def gradient(params: Any, data: Array, noise: Noise) -> Grads:
        terms, cache = objective.forward(params, data, noise)
        return objective.backward(np.full_like(terms["loss"], 1 / len(data)), cache)

    return gradient


def _vae(table: Ops) -> VAE:
    return VAE((PIXELS,), LATENT, HIDDEN, depth=1, likelihood="bernoulli", ops=table)


@lru_cache
def _forward_flops(op: str, channels: int, size: tuple[int, ...]) -> float:
    """Count one example: every product that the model asks its table for."""
    counter = _Counter()
    case = Case(op, "train_step", {"N": 1, "C": channels, "S": size})
    params, data = params_of(case), data_of(case)
    if op == "unet":
        UNet(channels, counter.table).forward(params, data, np.ones(1))
    else:
        _vae(counter.table).objective.forward(params, np.abs(data), JUDGED)
    return counter.total


class _Counter:
    """The reference, adding up the arithmetic of every forward."""

    def __init__(self) -> None:
        self.total = 0.0
        table = {name: getattr(ops, name) for name in ops.__all__}
        for row in CATALOG:
            if row.flops is not None:
                table[row.forward] = self._counted(row, table[row.forward])
        self.table = cast(Ops, SimpleNamespace(**table))

    def _counted(self, row: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arrays: Array, **static: Any) -> Any:
            result = forward(*arrays, **static)
            shapes = {n: a.shape for n, a in zip(row.shapes, arrays, strict=False)}
            self.total += row.flops(shapes, result[0].shape)
            return result

        return call
