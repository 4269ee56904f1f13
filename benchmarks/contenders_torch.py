"""PyTorch as its users write it. TORCH_COMPILE=1 compiles the same functions.

PyTorch draws from its own generator. To be judged, a drawing op is run twice from one state of
that generator: once to see the noise, once as it is timed. Compiled code draws otherwise than it
shows, so there the function is judged before it is compiled.
"""

import os
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases import Case
from refgen.typing import Array

VERSIONS = ("torch",)
COMPILE = bool(os.environ.get("TORCH_COMPILE"))
Tensor = Any  # torch.Tensor; PyTorch need not be installed where types are checked
torch.set_grad_enabled(False)


def prepare(case: Case, arrays: dict[str, Array]) -> Callable[[], Any]:
    """Return what is timed."""
    if case.op == "normals":
        return lambda: torch.randn(case.size)
    inputs = {name: torch.from_numpy(a.copy()) for name, a in arrays.items()}
    if case.op == "adam_ema_step":
        return _adam(inputs, **case.static)
    function = FUNCTIONS[case.op]
    if COMPILE:
        function = torch.compile(function, fullgraph=True, dynamic=False)
    return _call(function, inputs, case.static)


def results(case: Case, call: Callable[[], Any]) -> tuple[list[Array], Array | None]:
    """Return the outputs and the noise they were made of."""
    noise = None
    if case.size:
        torch.manual_seed(3)
        noise = torch.randn(case.size).numpy()
        torch.manual_seed(3)
        if COMPILE and case.op in FUNCTIONS:
            inputs = {name: torch.from_numpy(a) for name, a in case.arrays().items()}
            call = _call(FUNCTIONS[case.op], inputs, case.static)
    out = call()
    return [o.numpy() for o in (out if isinstance(out, tuple) else (out,))], noise


def _call(
    function: Callable[..., Any], inputs: dict[str, Tensor], static: dict[str, Any]
) -> Callable[[], Any]:
    values = tuple(inputs.values())
    return lambda: function(*values, **static)


def _noising(data: Tensor, noise: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return a[:, None, None, None] * data + b[:, None, None, None] * noise


def _noising_drawn(data: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    noise = torch.randn_like(data)
    return a[:, None, None, None] * data + b[:, None, None, None] * noise, noise


def _reparameterize_kl(mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
    return z, 0.5 * torch.sum(mu * mu + logvar.exp() - 1 - logvar, dim=1)


def _ddpm(x: Tensor, noise_hat: Tensor, alpha: float, alpha_bar: float, sigma: float) -> Tensor:
    mean = (x - (1 - alpha) / (1 - alpha_bar) ** 0.5 * noise_hat) / alpha**0.5
    return mean + sigma * torch.randn_like(x)


def _ddim(
    x: Tensor, noise_hat: Tensor, alpha_bar: float, alpha_bar_next: float, sigma: float
) -> Tensor:
    data = (x - (1 - alpha_bar) ** 0.5 * noise_hat) / alpha_bar**0.5
    return alpha_bar_next**0.5 * data + (1 - alpha_bar_next - sigma**2) ** 0.5 * noise_hat


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "noising_forward": _noising,
    "noising_drawn": _noising_drawn,
    "reparameterize_kl_drawn": _reparameterize_kl,
    "ddpm_step_drawn": _ddpm,
    "ddim_step_drawn": _ddim,
}


def _adam(inputs: dict[str, Tensor], step: int, lr: float, decay: float) -> Callable[[], Any]:
    """Use the fused optimizer, in place, and lerp for the average: what is fastest there."""
    p = torch.nn.Parameter(inputs["p"])
    p.grad = inputs["g"]
    optimizer = torch.optim.Adam([p], lr=lr, fused=True)
    count = torch.tensor(float(step - 1))
    optimizer.state[p] = {"step": count, "exp_avg": inputs["m"], "exp_avg_sq": inputs["v"]}
    average, current = inputs["average"], p.detach()

    def update() -> Any:
        optimizer.step()
        average.lerp_(current, 1 - decay)
        return current, inputs["m"], inputs["v"], average

    return update
