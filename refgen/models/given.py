r"""An MLP that is given a vector: it stands beside what is denoised, and is never noised itself.

Shapes     N batch, D of what is denoised, C of what is given.   x, y, dx, dy : (N, D)    t : (N,)
           condition : (N, C)
Sources    chi2023-diffusion-policy  section II.C (a condition, not a part of the data)

A residual MLP of (D + C)-vectors and times answers for the D entries; what it says of the others
is not asked.

    y = the first D of mlp([x, condition], t)                              (GV.1)

Adjoint. What was not asked gets no gradient. The condition gets what its entries of the input are
worth, for whoever produced it; where it is data nobody asks.

    [dx, dcondition] = the adjoint of mlp at [dy, 0]                       (GV.2)

`refgen.models.told.Told` binds the condition of one batch, and a loss and a sampler see a network
of (x, t).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.models.mlp import TimeMLP
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class GivenMLP:
    """A map of (x, t, condition); dim is D, conditions is C.

    Raises ValueError for sizes below 1.
    """

    dim: int
    conditions: int
    hidden: int = 128
    blocks: int = 3
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.dim < 1 or self.conditions < 1:
            raise ValueError(
                f"an MLP of {self.dim} entries is given {self.conditions} more: both are 1 at least"
            )
        _ = self._mlp  # refuses sizes that cannot be

    def init(self, noise: Noise) -> Params:
        """Draw the parameters, those of the MLP."""
        return self._mlp.init(noise)

    def forward(self, params: Any, x: Array, t: Array, condition: Array) -> tuple[Array, Cache]:
        """Return (y, cache). Raises ValueError unless there is a condition for each x."""
        joined, cut = self.ops.concat_forward(x, condition)
        y, cache = self._mlp.forward(params, joined, t)
        asked, _ = self.ops.concat_backward(y, cut)  # (GV.1)
        return asked, (cut, cache)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dx, _, grads = self.backward_inputs(dy, cache)
        return dx, grads

    def backward_inputs(self, dy: Array, cache: Cache) -> tuple[Array, Array, Grads]:
        """Return (dx, dcondition, grads)."""
        cut, mlp_cache = cache
        nothing = np.zeros_like(dy, shape=(dy.shape[0], self.conditions))
        joined, _ = self.ops.concat_forward(dy, nothing)
        dinput, grads = self._mlp.backward(joined, mlp_cache)
        dx, dcondition = self.ops.concat_backward(dinput, cut)  # (GV.2)
        return dx, dcondition, grads

    @property
    def _mlp(self) -> TimeMLP:
        return TimeMLP(self.dim + self.conditions, self.hidden, self.blocks, ops=self.ops)
