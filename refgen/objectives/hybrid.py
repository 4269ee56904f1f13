r"""The hybrid loss: the simple one teaches the mean, the bound teaches the variances alone.

Shapes     N batch, *S axes of one example, the last of them C channels.   data, x : (N, *S)
           network : (N, *S with 2 C channels), first ŷ and then r    loss : (N,)
Sources    nichol2021-improved  eq. 16 and section 3.1

A network predicts ŷ and a variance by r (VB.6 of variational.py). The bound weighs the errors of
the mean by 1/v, which makes its gradient noisy, and the simple loss says nothing of variances. So
each teaches what it is good at:

    loss = w ‖ŷ − y‖² + λ (L_T + T L_{t−1}),   with ŷ of the second term held fixed          (HY.1)

w makes the first term the squared error of the noise, whatever is predicted. Both terms are sums
over dimensions and the second is in nats; the paper has means, and bits for the second.

Adjoint. Nothing of the bound goes through ŷ:

    dŷ = 2 w dloss (ŷ − y),   dr = λ T dloss ∂L_{t−1}/∂r                                    (HY.2)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refgen.noise import Noise
from refgen.objectives.variational import VariationalBound
from refgen.processes.parametrization import column
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class Hybrid:
    """The simple loss for the mean, and the bound, times a small weight, for the variances.

    Raises ValueError unless the bound's variances are learnt and the weight is positive.
    """

    bound: VariationalBound
    weight: float = 1e-3  # λ

    def __post_init__(self) -> None:
        if self.bound.variance != "learned" or not self.weight > 0:
            raise ValueError(
                "a hybrid loss has a weight above 0 and a bound with variance='learned', not "
                f"{self.weight} and {self.bound.variance!r}: nothing else learns from the bound"
            )

    def forward(
        self, params: Any, data: Array, noise: Noise, **given: Any
    ) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss", "simple", "bound"}, cache), (N,); bound is the estimate in nats."""
        bound, found = self.bound, self.bound.drawn(params, data, noise, given)
        error, error_cache = bound.ops.squared_error_forward(found.y_hat, found.y)
        w, nats = found.step.simple, bound.prior(data) + bound.schedule.T * found.term.nats
        terms = {"loss": w * error + self.weight * nats, "simple": w * error, "bound": nats}
        return terms, (w, error_cache, found)  # (HY.1)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params: the mean's come from the simple loss alone."""
        w, error_cache, found = cache
        dy, _ = self.bound.ops.squared_error_backward(w * dloss, error_cache)
        dterm = self.weight * self.bound.schedule.T * column(dloss, found.y)
        return self.bound.pull(dy, dterm, found)  # (HY.2)


@dataclass(frozen=True)
class TwoHeads:
    """Two networks as one with twice the channels: first the prediction, then r."""

    prediction: Any  # Predictor with init
    variance: Any

    def init(self, noise: Noise) -> Params:
        """Draw {"prediction", "variance"}."""
        return {
            "prediction": self.prediction.init(noise.at("prediction")),
            "variance": self.variance.init(noise.at("variance")),
        }

    def forward(self, params: Any, x: Array, t: Array, **given: Any) -> tuple[Array, Cache]:
        """Return (y, cache), y : (N, *S with 2 C channels)."""
        y, first = self.prediction.forward(params["prediction"], x, t, **given)
        r, second = self.variance.forward(params["variance"], x, t, **given)
        return np.concatenate([y, r], axis=-1), (first, second)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        dy_prediction, dy_variance = np.split(dy, 2, axis=-1)
        first, second = cache
        dx, of_prediction = self.prediction.backward(dy_prediction, first)
        dx_variance, of_variance = self.variance.backward(dy_variance, second)
        return dx + dx_variance, {"prediction": of_prediction, "variance": of_variance}
