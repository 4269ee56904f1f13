"""Whole steps on a device, by the objectives, the optimizer and the sampler that all tables share.

What steps.py does in ordinary memory, with weights and data sent across once. What a step draws
it draws where it computes, and nothing comes back before somebody asks.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import steps
from benchmarks.calls import Call
from benchmarks.cases import Case
from benchmarks.unet import UNet
from refgen import tree
from refgen.ops.protocol import Ops
from refgen.processes import stride
from refgen.samplers import sample_ddim
from refgen.typing import Array


def build(table: Ops, case: Case) -> Call:
    """Return the step that is timed: a training step goes on from what the last has left."""
    params = tree.map(table.put, steps.params_of(case))
    if case.call == "sample":
        return sampler(table, case, params)
    gradient, data = steps._gradient(table, case), table.put(steps.data_of(case))
    moments, k = steps.ADAM.start(params), 0

    def step() -> None:
        nonlocal params, moments, k
        k += 1
        grads = gradient(params, data, steps.PLACE.at("step", k))
        params, moments = steps.ADAM.update(table, params, grads, moments, k)

    return step


def evidence(table: Ops, case: Case) -> list[Array]:
    """Return what is judged, in ordinary memory: gradients in the order of paths, or samples."""
    params = tree.map(table.put, steps.params_of(case))
    if case.call == "sample":
        return [table.fetch(sampler(table, case, params)())]
    grads = steps._gradient(table, case)(params, table.put(steps.data_of(case)), steps.JUDGED)
    return [table.fetch(g) for g in tree.leaves(grads)]


def sampler(table: Ops, case: Case, params: Any) -> Call:
    """Return fifty steps as a call that sends nothing across, so that a graph can hold it."""
    network, start = UNet(case.dims["C"], table), table.put(steps.start_of(case))
    times = stride(steps.SCHEDULE.T, steps.STEPS)
    clock = {t: table.put(np.full(len(start), t, np.float32)) for t, _ in pairwise(map(int, times))}

    def predict(x: Array, t: int) -> Array:
        return network.forward(params, x, clock[int(t)])[0]

    def walk() -> Array:
        return sample_ddim(predict, start, steps.SCHEDULE, steps.PLACE, times=times, ops=table)

    return walk
