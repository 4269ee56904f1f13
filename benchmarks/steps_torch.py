"""The whole steps of steps.py in PyTorch: autograd, fused Adam, lerp for the average."""

import os
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks import steps, unet_torch
from benchmarks.calls import Call
from benchmarks.cases import Case
from benchmarks.unet_torch import Tensor
from refgen.processes import stride
from refgen.typing import Array

LAST = bool(os.environ.get("TORCH_LAST"))  # images with channels last in memory
COMPILE = bool(os.environ.get("TORCH_COMPILE"))
DECAY = 0.999


def build(case: Case) -> Call:
    """Return the step that is timed."""
    model, data = model_of(case), data_of(case)
    run = torch.compile(model, dynamic=False) if COMPILE else model
    if case.call == "sample":
        return lambda: _sample(run, case)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-4, fused=True)
    average = [p.detach().clone() for p in parameters]
    loss_of = _vae_loss if case.op == "vae" else _unet_loss

    def step() -> None:
        with torch.enable_grad():
            loss = loss_of(run, data)
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - DECAY)

    return step


def evidence(case: Case) -> list[Array]:
    """Return what is judged, as steps.evidence does, from the same weights and noise."""
    model = model_of(case)
    if case.call == "sample":
        return [_sample(torch.compile(model, dynamic=False) if COMPILE else model, case)]
    run = torch.compile(model, dynamic=False) if COMPILE else model
    return gradients(model, loss_with_noise_of_refgen(run, case, data_of(case)))


def gradients(model: Any, loss: Callable[[], Tensor]) -> list[Array]:
    """Return the gradient of a loss in every parameter, in refgen's layout and order."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    with torch.enable_grad():
        found = torch.autograd.grad(loss(), parameters)
    return unet_torch.leaves(model, dict(zip(names, found, strict=True)))


def loss_with_noise_of_refgen(run: Any, case: Case, data: Tensor) -> Callable[[], Tensor]:
    """Return the loss with the draws that refgen makes for the step that is judged."""
    place, kind = steps.JUDGED, data.dtype
    if case.op == "vae":
        latent = torch.from_numpy(place.normal((len(data), steps.LATENT))).to(kind)
        return lambda: run(data, latent)
    t = torch.from_numpy(1 + place.at("t").integers(steps.SCHEDULE.T, len(data)))
    drawn = torch.from_numpy(place.at("noise").normal((len(data), *case.dims["S"])))
    noise = drawn.to(kind).permute(0, 3, 1, 2)
    return lambda: _error(run, data, t, noise) * data[0].numel()  # refgen adds up an example


def flops(case: Case) -> float:
    """Count one example's forward by PyTorch's own counter, and the rest as refgen does."""
    from torch.utils.flop_counter import FlopCounterMode

    model, data = model_of(case), data_of(case)[:1]
    with FlopCounterMode(display=False) as counter:
        if case.op == "vae":
            model(data, torch.zeros(1, steps.LATENT))
        else:
            model(data, torch.ones(1))
    times = steps.STEPS if case.call == "sample" else 3
    return float(counter.get_total_flops() * case.dims["N"] * times)


def model_of(case: Case) -> Any:
    """Return the network with refgen's weights."""
    if case.op == "vae":
        model: Any = unet_torch.VAE(steps.PIXELS, steps.HIDDEN, steps.LATENT)
    else:
        model = unet_torch.UNet(case.dims["C"])
    unet_torch.load(model, steps.params_of(case))
    return model.to(memory_format=torch.channels_last) if LAST and case.images else model


def data_of(case: Case, kind: Any = torch.float32) -> Tensor:
    """Return the batch as the model wants it: gray values, or images with colours first."""
    data: Tensor = torch.from_numpy(steps.data_of(case)).to(kind)
    return 0.5 * (data + 1) if case.op == "vae" else _image(data)


def _vae_loss(model: Any, data: Tensor) -> Tensor:
    return model(data, torch.randn(len(data), steps.LATENT))


def _unet_loss(model: Any, data: Tensor) -> Tensor:
    t = torch.randint(1, steps.SCHEDULE.T + 1, (len(data),))
    return _error(model, data, t, torch.randn_like(data))


ALPHA_BAR = torch.from_numpy(steps.SCHEDULE.alpha_bar.copy())


def _error(model: Any, data: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    alpha_bar = ALPHA_BAR[t][:, None, None, None]
    x = alpha_bar.sqrt().to(data.dtype) * data + (1 - alpha_bar).sqrt().to(data.dtype) * noise
    return F.mse_loss(model(x, t.to(data.dtype)), noise)


@torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
def _sample(model: Any, case: Case) -> Array:
    x = _image(torch.from_numpy(steps.start_of(case)))
    times = stride(steps.SCHEDULE.T, steps.STEPS)
    for t, s in pairwise(times):
        a, b = (float(steps.SCHEDULE.alpha_bar[i]) for i in (t, s))
        noise_hat = model(x, torch.full((len(x),), float(t)))
        clean = (x - (1 - a) ** 0.5 * noise_hat) / a**0.5
        x = b**0.5 * clean + (1 - b) ** 0.5 * noise_hat
    sample: Array = x.permute(0, 2, 3, 1).numpy()
    return sample


def _image(x: Tensor) -> Tensor:
    """Return (N, H, W, C) as (N, C, H, W), with channels first or last in memory."""
    kind = torch.channels_last if LAST else torch.contiguous_format
    return x.permute(0, 3, 1, 2).contiguous(memory_format=kind)
