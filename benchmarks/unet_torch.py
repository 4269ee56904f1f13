"""The networks of unet.py and of the VAE in PyTorch, from the same weights.

A parameter here has the path of the same one there: before.conv1.weight is before/conv1/w.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.unet import COLOURS, EMBEDDING, GROUPS
from refgen import tree
from refgen.typing import Array, Params

Tensor = Any  # torch.Tensor; PyTorch need not be installed where types are checked
LEAVES = {"weight": "w", "bias": "b"}  # of all but norms
NORMS = {"weight": "gamma", "bias": "beta"}


class Block(nn.Module):  # type: ignore[misc, unused-ignore]
    """A residual block; the time is added after the first convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.embed = nn.Linear(EMBEDDING, outputs)
        self.norm2 = nn.GroupNorm(GROUPS, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Return y."""
        h = self.conv1(F.silu(self.norm1(x))) + self.embed(e)[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class Clock(nn.Module):  # type: ignore[misc, unused-ignore]
    """The time as a vector that every block sees."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.register_buffer("speeds", torch.exp(-math.log(1e4) * torch.arange(half) / half))
        self.time = nn.ModuleDict(
            {
                "dense0": nn.Linear(channels, EMBEDDING),
                "dense1": nn.Linear(EMBEDDING, EMBEDDING),
            }
        )

    def forward(self, t: Tensor) -> Tensor:
        """Return e."""
        angle = t[:, None] * self.speeds
        clock = torch.cat([angle.sin(), angle.cos()], dim=1)
        return F.silu(self.time["dense1"](F.silu(self.time["dense0"](clock))))


class UNet(nn.Module):  # type: ignore[misc, unused-ignore]
    """The noise predictor, (N, 3, H, W) and (N,) -> (N, 3, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.condition = Clock(c)
        self.first = nn.Conv2d(COLOURS, c, 3, padding=1)
        self.before = Block(c, c)
        self.halve = nn.Conv2d(c, 2 * c, 3, stride=2, padding=1)
        self.middle0, self.middle1 = Block(2 * c, 2 * c), Block(2 * c, 2 * c)
        self.enlarge = nn.Conv2d(2 * c, c, 3, padding=1)
        self.after = Block(2 * c, c)
        self.norm = nn.GroupNorm(GROUPS, c)
        self.last = nn.Conv2d(c, COLOURS, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return y."""
        e = self.condition(t)
        h = self.before(self.first(x), e)
        g = self.middle1(self.middle0(self.halve(h), e), e)
        g = self.enlarge(F.interpolate(g, scale_factor=2.0, mode="nearest"))
        g = self.after(torch.cat([g, h], dim=1), e)
        return self.last(F.silu(self.norm(g)))


class VAE(nn.Module):  # type: ignore[misc, unused-ignore]
    """Encoder and decoder with one hidden layer each."""

    def __init__(self, pixels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encoder = _two(pixels, hidden, 2 * latent)
        self.decoder = _two(latent, hidden, pixels)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the mean of the loss over the batch, in nats; x is gray values in [0, 1]."""
        h = F.silu(self.encoder["dense0"](x))
        mu, logvar = self.encoder["dense1"](h).chunk(2, dim=1)
        z = mu + torch.exp(0.5 * logvar) * noise
        logits = self.decoder["dense1"](F.silu(self.decoder["dense0"](z)))
        recon = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = 0.5 * torch.sum(mu * mu + logvar.exp() - 1 - logvar)
        return (recon + kl) / len(x)


def _two(inputs: int, hidden: int, outputs: int) -> Any:
    return nn.ModuleDict(
        {"dense0": nn.Linear(inputs, hidden), "dense1": nn.Linear(hidden, outputs)}
    )


def load(model: Any, params: Params) -> None:
    """Give a model the weights of refgen's."""
    flat = tree.flatten(params)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(turned(flat[path_of(model, name)])))


def leaves(model: Any, tensors: dict[str, Tensor]) -> list[Array]:
    """Return tensors named as the parameters are, in refgen's layout and order of paths."""
    found = {path_of(model, name): back(a.detach().numpy()) for name, a in tensors.items()}
    return [found[path] for path in sorted(found, key=lambda path: path.split("/"))]


def path_of(model: Any, name: str) -> str:
    """Return the path that refgen gives a parameter."""
    *branch, leaf = name.split(".")
    norm = isinstance(model.get_submodule(".".join(branch)), nn.GroupNorm)
    return "/".join([*branch, (NORMS if norm else LEAVES)[leaf]])


def turned(w: Array) -> Array:
    """Return a filter (U, V, I, O) or a matrix (I, O) as PyTorch keeps it; vectors stay."""
    if w.ndim == 1:
        return w
    return np.ascontiguousarray(w.transpose(3, 2, 0, 1) if w.ndim == 4 else w.T)


def back(w: Array) -> Array:
    """Invert `turned`."""
    if w.ndim == 1:
        return w
    return w.transpose(2, 3, 1, 0) if w.ndim == 4 else w.T
