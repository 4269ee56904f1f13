"""The whole steps in PyTorch on a GPU: the networks and losses of steps_torch.py, moved there."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from benchmarks import steps, steps_torch, unet_torch
from benchmarks.calls import Call
from benchmarks.cases import Case
from refgen.processes import stride
from refgen.typing import Array

Tensor = Any  # torch.Tensor; PyTorch need not be installed where types are checked
DECAY = 0.999


def build(way: Any, case: Case) -> Call:
    """Return the step that is timed; way says where, in which layout and precision."""
    model = _model(way, case)
    run = torch.compile(model, dynamic=False) if way.compiled else model
    if case.call == "sample":
        return sampler(way, case, run)
    data = _data(way, case)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-4, fused=True)
    average = [p.detach().clone() for p in parameters]
    loss_of = _vae_loss if case.op == "vae" else _unet_loss

    def step() -> None:
        with _precision(way):
            loss = loss_of(run, data)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - DECAY)

    return step


def evidence(way: Any, case: Case) -> list[Array]:
    """Return what is judged, from refgen's weights and noise."""
    model = _model(way, case)
    run = torch.compile(model, dynamic=False) if way.compiled else model
    if case.call == "sample":
        return [sampler(way, case, run)().float().permute(0, 2, 3, 1).cpu().numpy()]
    with _precision(way):
        loss = _loss_with_noise_of_refgen(way, case, run)()
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = [g.cpu() for g in torch.autograd.grad(loss, parameters)]
    return unet_torch.leaves(model.cpu(), dict(zip(names, found, strict=True)))


def sampler(way: Any, case: Case, run: Any) -> Call:
    """Return fifty steps of DDIM, with times sent across before."""
    start = _image(way, torch.from_numpy(steps.start_of(case)).to(way.where))
    times = stride(steps.SCHEDULE.T, steps.STEPS)
    clock = {t: torch.full((len(start),), float(t), device=way.where) for t in map(int, times)}

    def walk() -> Tensor:
        x = start
        with torch.no_grad(), _precision(way):
            for t, s in pairwise(times):
                a, b = (float(steps.SCHEDULE.alpha_bar[i]) for i in (t, s))
                noise_hat = run(x, clock[int(t)])
                clean = (x - (1 - a) ** 0.5 * noise_hat) / a**0.5
                x = b**0.5 * clean + (1 - b) ** 0.5 * noise_hat
        return x

    return walk


def flops(case: Case) -> float:
    """Count the arithmetic as refgen does; both were compared."""
    return steps.flops(case)


def _precision(way: Any) -> Any:
    """Return the context in which bf16 is used where PyTorch thinks it may be."""
    kind = "cuda" if way.where == "cuda" else "cpu"
    return torch.autocast(kind, torch.bfloat16, enabled=way.precision == "bf16")


def _model(way: Any, case: Case) -> Any:
    """Return the network with refgen's weights."""
    model = steps_torch.model_of(case).to(way.where)
    return model.to(memory_format=torch.channels_last) if way.last and case.images else model


def _data(way: Any, case: Case) -> Tensor:
    """Return the batch as the model wants it: gray values, or images with colours first."""
    data: Tensor = torch.from_numpy(steps.data_of(case)).to(way.where)
    return 0.5 * (data + 1) if case.op == "vae" else _image(way, data)


def _image(way: Any, x: Tensor) -> Tensor:
    kind = torch.channels_last if way.last else torch.contiguous_format
    return x.permute(0, 3, 1, 2).contiguous(memory_format=kind)


def _vae_loss(model: Any, data: Tensor) -> Tensor:
    return model(data, torch.randn(len(data), steps.LATENT, device=data.device))


def _unet_loss(model: Any, data: Tensor) -> Tensor:
    t = torch.randint(1, steps.SCHEDULE.T + 1, (len(data),), device=data.device)
    return _error(model, data, t, torch.randn_like(data))


def _error(model: Any, data: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    alpha_bar = _alpha_bar(data)[t][:, None, None, None]
    x = alpha_bar.sqrt().to(data.dtype) * data + (1 - alpha_bar).sqrt().to(data.dtype) * noise
    return torch.nn.functional.mse_loss(model(x, t.to(data.dtype)), noise)


_levels: dict[Any, Tensor] = {}


def _alpha_bar(data: Tensor) -> Tensor:
    """Return the noise levels beside the data, float64: 1 minus them must not round."""
    if data.device not in _levels:
        _levels[data.device] = torch.from_numpy(steps.SCHEDULE.alpha_bar.copy()).to(data.device)
    return _levels[data.device]


def _loss_with_noise_of_refgen(way: Any, case: Case, run: Any) -> Callable[[], Tensor]:
    """Return the loss with the draws that refgen makes for the step that is judged."""
    place, data = steps.JUDGED, _data(way, case)
    if case.op == "vae":
        drawn = torch.from_numpy(place.normal((len(data), steps.LATENT)))
        latent = drawn.to(way.where, torch.float32)
        return lambda: run(data, latent)
    t = torch.from_numpy(1 + place.at("t").integers(steps.SCHEDULE.T, len(data))).to(way.where)
    drawn = torch.from_numpy(place.at("noise").normal((len(data), *case.dims["S"])))
    noise = drawn.to(way.where, torch.float32).permute(0, 3, 1, 2)
    return lambda: _error(run, data, t, noise) * data[0].numel()  # refgen adds up an example
