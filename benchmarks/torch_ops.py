"""The ops in PyTorch, as its users write them, and how arrays of refgen become its tensors.

Images come with channels first in shape; in memory they lie first too, or last if that is asked
for. Filters are (O, I, U, V), matrices (O, I). All that is done before the clock starts.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.cases import Case
from refgen.typing import Array

Tensor = Any  # torch.Tensor; PyTorch need not be installed where types are checked


def tensor(case: Case, name: str, a: Array, last: bool) -> Tensor:
    """Return an argument, or the gradient of a result, in PyTorch's layout."""
    kind = torch.channels_last if last else torch.contiguous_format
    x = torch.from_numpy(a)
    if a.ndim == 4 and name == "w":
        return x.permute(3, 2, 0, 1).contiguous(memory_format=kind)
    if a.ndim == 4 and case.images:
        return x.permute(0, 3, 1, 2).contiguous(memory_format=kind)
    return x.T.contiguous() if name == "w" else x.clone()


def array(case: Case, name: str, x: Tensor) -> Array:
    """Return a result, or the gradient of an argument, in refgen's layout."""
    if x.ndim == 4 and name == "w":
        x = x.permute(2, 3, 1, 0)
    elif x.ndim == 4 and case.images:
        x = x.permute(0, 2, 3, 1)
    elif name == "w":
        x = x.T
    found: Array = x.detach().numpy()
    return found


def convolution_parts(case: Case, dy: Tensor, x: Tensor, w: Tensor) -> Callable[[], Any]:
    """Return one of the gradients of a convolution: of x, or of w and b."""
    static, of_x = case.keywords(), case.call == "dgrad"
    stride, padding = [static["stride"]] * 2, [static["padding"]] * 2
    sizes = [w.shape[0]], stride, padding, [1, 1], False, [0, 0], 1, [of_x, not of_x, not of_x]

    def part() -> Any:
        found = torch.ops.aten.convolution_backward(dy, x, w, *sizes)
        return found[0] if of_x else (found[1], found[2])

    return part


def _wide(a: Tensor, x: Tensor) -> Tensor:
    """Put one number for each example beside every entry of it."""
    return a.reshape(-1, *[1] * (x.ndim - 1))


def _channels(a: Tensor) -> Tensor:
    """Put one number for each example and channel at every pixel."""
    return a[:, :, None, None]


def _noising(data: Tensor, noise: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return _wide(a, data) * data + _wide(b, data) * noise


def _noising_drawn(data: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    noise = torch.randn_like(data)
    return _wide(a, data) * data + _wide(b, data) * noise, noise


def _reparameterize_kl(mu: Tensor, logvar: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    z = mu + torch.exp(0.5 * logvar) * noise
    return z, 0.5 * torch.sum(mu * mu + logvar.exp() - 1 - logvar, dim=1)


def _reparameterize_kl_drawn(mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor]:
    return _reparameterize_kl(mu, logvar, torch.randn_like(mu))


def _ddpm(x: Tensor, noise_hat: Tensor, alpha: float, alpha_bar: float, sigma: float) -> Tensor:
    mean = (x - (1 - alpha) / (1 - alpha_bar) ** 0.5 * noise_hat) / alpha**0.5
    return mean + sigma * torch.randn_like(x)


def _ddim(
    x: Tensor, noise_hat: Tensor, alpha_bar: float, alpha_bar_next: float, sigma: float
) -> Tensor:
    data = (x - (1 - alpha_bar) ** 0.5 * noise_hat) / alpha_bar**0.5
    return alpha_bar_next**0.5 * data + (1 - alpha_bar_next - sigma**2) ** 0.5 * noise_hat


def _guided(step: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def along(x: Tensor, hat: Tensor, null: Tensor, guidance: float, **levels: float) -> Tensor:
        return step(x, null + guidance * (hat - null), **levels)

    return along


def _langevin(x: Tensor, score: Tensor, step: float) -> Tensor:
    return x + step * score + math.sqrt(2 * step) * torch.randn_like(x)


def _film(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return (1 + _channels(scale)) * x + _channels(shift)


def _attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    q, k, v = (a.unflatten(-1, (heads, -1)).transpose(1, 2) for a in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _upsample_conv(x: Tensor, w: Tensor, b: Tensor, padding: int) -> Tensor:
    return F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), w, b, padding=padding)


def _batch_norm(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the op returns; the statistics are those that PyTorch puts into its averages."""
    y, mean, rstd = torch.native_batch_norm(x, gamma, beta, None, None, True, 1.0, 1e-5)
    return y, mean, rstd**-2 - 1e-5


def _coupling(x: Tensor, shift: Tensor, log_scale: Tensor) -> tuple[Tensor, Tensor]:
    return x * log_scale.exp() + shift, log_scale.sum(1)


def _squared_error(x: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(x, target, reduction="none").flatten(1).sum(1)


ACTIVATIONS: dict[str, Any] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "softplus": F.softplus,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {  # by the names of cases: drawing or given the noise
    "noising": _noising,
    "noising_drawn": _noising_drawn,
    "reparameterize_kl": _reparameterize_kl,
    "reparameterize_kl_drawn": _reparameterize_kl_drawn,
    "ddpm_step_drawn": _ddpm,
    "ddim_step_drawn": _ddim,
    "guided_ddpm_step_drawn": _guided(_ddpm),
    "guided_ddim_step_drawn": _guided(_ddim),
    "euler_step": lambda x, velocity, dt: x + dt * velocity,
    "heun_step": lambda x, v, v_next, dt: x + 0.5 * dt * (v + v_next),
    "langevin_step_drawn": _langevin,
    "squared_error": _squared_error,
    "bernoulli_nll": lambda x, logits: F.binary_cross_entropy_with_logits(
        logits, x, reduction="none"
    ).sum(1),
    "affine_coupling": _coupling,
    "conv2d": lambda x, w, b, stride, padding: F.conv2d(x, w, b, stride, padding),
    "conv_transpose2d": lambda x, w, b, stride, padding: F.conv_transpose2d(
        x, w, b, stride, padding
    ),
    "upsample_conv2d": _upsample_conv,
    "group_norm_silu": lambda x, g, b, groups: F.silu(F.group_norm(x, groups, g, b)),
    "group_norm_film_silu": lambda x, g, b, scale, shift, groups: F.silu(
        _film(F.group_norm(x, groups, g, b), scale, shift)
    ),
    "layer_norm": lambda x, g, b: F.layer_norm(x, x.shape[-1:], g, b),
    "batch_norm": _batch_norm,
    "attention": _attention,
    "dense": F.linear,
    "dense_act": lambda x, w, b, activation: ACTIVATIONS[activation](F.linear(x, w, b)),
    "add": torch.add,
    "shift": lambda x, v: x + _channels(v),
    "concat": lambda x, z: torch.cat([x, z], dim=1),
}
