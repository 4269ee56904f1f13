r"""Maximum likelihood for a flow: the density of the latent, times the change of volume.

Shapes     N batch, D data.   x, z : (N, D)    loss, logdet : (N,), in nats
Sources    dinh2017-realnvp  eq. 2-3

    z = f(x),   −log p(x) = ½ ‖z‖² + ½ D log 2π − log |det ∂f/∂x|     (NL.1)

Adjoint. Descent pulls every latent to 0 and lets f stretch, which the determinant rewards:

    dz = dloss z,   dlogdet = −dloss                                   (NL.2)
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from refgen.models import CouplingFlow
from refgen.typing import Array, Cache, Grads


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """The exact −log p(x) of a flow."""

    flow: CouplingFlow

    def forward(self, params: Any, x: Array) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss"}, cache), (N,) in nats."""
        z, logdet, flow_cache = self.flow.forward(params, x)
        constant = 0.5 * x.shape[1] * math.log(2 * math.pi)
        loss = 0.5 * np.sum(z * z, axis=1) + constant - logdet  # (NL.1)
        return {"loss": loss}, (z, flow_cache)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        z, flow_cache = cache
        _, grads = self.flow.backward(dloss[:, None] * z, -dloss, flow_cache)  # (NL.2)
        return grads
