r"""A network between a skip and a scale: it never has to say more than is unknown.

Shapes     N batch, *S axes of one example.   x, D, F : (N, *S)    σ : (N,)
Sources    karras2022-edm  table 1 (ε = 0);  song2023-consistency  eq. 5, appendix C (ε > 0)

At noise level σ, x = data + σ noise with data of mean 0 and deviation σ_d. Where σ is small, x is
nearly the data; where it is large, x says next to nothing. A network F is put into

    D(x, σ) = c_skip x + c_out F(c_in x, c_noise)                                      (PR.1)
    c_skip = σ_d² / ((σ − ε)² + σ_d²),   c_out = σ_d (σ − ε) / √(σ² + σ_d²)            (PR.2)
    c_in = 1 / √(σ² + σ_d²),   c_noise = 250 log σ                                     (PR.3)

so its input has variance 1, and with ε = 0 its target (data − c_skip x) / c_out too: c_out is then
the deviation of the data from c_skip x, their best linear guess. ε > 0, the first level, makes it a
consistency model: D(x, ε) = x, whatever F says. EDM's c_noise is ¼ log σ; here it is 1000 times
that, for embeddings that are made for whole numbers.

An error of F weighs the same at every level where one of D weighs 1/c_out². On a path, with
x = a data + b noise and σ = b/a, an error of the data weighs W/b² (WE.2 of processes/weights.py).
So for ε = 0 that takes

    W = b²/c_out² = a² + b²/σ_d²                                                       (PR.4)

Adjoint. x goes two ways, past the network and through it:

    dF = c_out dD,   dx = c_skip dD + c_in (∂F/∂x)ᵀ dF                                  (PR.5)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refgen.noise import Noise
from refgen.processes.parametrization import column
from refgen.processes.path import Levels, Time
from refgen.typing import Array, Cache, Grads, Params

CLOCK = 250.0  # ¼ · 1000


def even_weight(levels: Levels, data_std: float) -> Time:
    """Return the weight W of a denoising loss under which all levels count alike inside."""
    return levels.a**2 + (levels.b / data_std) ** 2  # (PR.4)


@dataclass(frozen=True)
class Preconditioned:
    """A network (x, t) -> (N, *S) as an estimate of the data, (x, σ) -> (N, *S).

    Raises ValueError unless 0 ≤ first, the ε of the boundary, and 0 < data_std.
    """

    network: Any  # Predictor with init
    data_std: float = 0.5  # σ_d
    first: float = 0.0  # ε

    def __post_init__(self) -> None:
        if not (self.data_std > 0 and self.first >= 0):
            raise ValueError(
                f"data have a deviation above 0, and levels begin at 0 or above, not "
                f"{self.data_std} and {self.first}"
            )

    def init(self, noise: Noise) -> Params:
        """Draw the network's parameters."""
        params: Params = self.network.init(noise)
        return params

    def forward(self, params: Any, x: Array, t: Array, **given: Any) -> tuple[Array, Cache]:
        """Return (D, cache); what it is told as its time, t, is the noise level σ, (N,)."""
        sigma, var, past = t, self.data_std**2, t - self.first
        total = np.sqrt(sigma * sigma + var)
        skip = column(var / (past * past + var), x)
        out = column(self.data_std * past / total, x)  # (PR.2)
        scale, told = column(1 / total, x), CLOCK * np.log(sigma)  # (PR.3)
        inner, cache = self.network.forward(params, scale * x, told, **given)
        return skip * x + out * inner, (skip, out, scale, cache)  # (PR.1)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        skip, out, scale, inner = cache
        dx, grads = self.network.backward(out * dy, inner)
        return skip * dy + scale * dx, grads  # (PR.5)
