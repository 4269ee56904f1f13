r"""The loss of a classifier that looks at noisy data, and the gradient that it guides by.

Shapes     N batch, K classes.   data, ε, x : (N, *S)    labels, y : (N,) in 0 .. K − 1
           t : (N,) in 1 .. T    logits, p : (N, K)    loss : (N,), in nats
Lectures   3 (classifier guidance: train the classifier on noisy samples), 0
Source     dhariwal2021-adm  section 4

    t ~ U{1 .. T},   ε ~ N(0, I),   x = √ᾱ_t data + √(1 − ᾱ_t) ε                  (NCL.1)
    loss = −log p(y | x, t),   p = softmax(logits),   logits = net(x, √ᾱ_t, √(1 − ᾱ_t)) (NCL.2)

Far up in the noise nothing can be told, and the best loss is the entropy of the labels; so the
mean over t stays well above 0.

Adjoint. log p_y is logits_y − log Σ_k e^logits_k, whose slope in logits_k is 1 − p_k for k = y and
−p_k for the others. Parameters and x enter through the logits only: the network's own backward
turns the one line into the gradient that training needs, the other into what a guide climbs.

    dlogits = dloss (p − onehot(y))                                               (NCL.3)
    ∇_x log p(y | x, t) = (∂logits/∂x)ᵀ (onehot(y) − p)                           (NCL.4)
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.models.noisy_classifier import NoisyClassifier
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.processes.schedule import Schedule
from refgen.typing import Array, Cache, Grads


@dataclass(frozen=True)
class NoisyClassification:
    """The loss of a classifier at all levels of a schedule."""

    model: NoisyClassifier
    schedule: Schedule
    ops: Ops = field(default=reference, repr=False, compare=False)

    def forward(
        self, params: Any, data: Array, labels: Array, noise: Noise
    ) -> tuple[dict[str, Array], Cache]:
        """Return ({"loss", "right"}, cache), (N,); t and ε are drawn at this place.

        right is 1 where the likeliest class is the label: it falls with the noise.
        """
        t = 1 + noise.at("t").integers(self.schedule.T, len(data), words=self.ops.words)
        levels = self.schedule.signal(t), self.schedule.spread(t)
        a, b = (level.astype(data.real.dtype) for level in levels)
        x, _ = self.ops.noising_drawn(data, a, b, noise.at("noise").stream)  # (NCL.1)
        logits, model_cache = self.model.forward(params, x, np.stack([a, b], axis=1))
        loss, nll_cache = reference.categorical_nll_forward(labels, logits)  # (NCL.2)
        right = (np.argmax(logits.real, axis=1) == labels).astype(loss.real.dtype)
        return {"loss": loss, "right": right}, (nll_cache, model_cache)

    def backward(self, dloss: Array, cache: Cache) -> Grads:
        """Return grads, in the tree of params."""
        nll_cache, model_cache = cache
        dlogits = reference.categorical_nll_backward(dloss, nll_cache)  # (NCL.3)
        return self.model.backward(dlogits, model_cache)[1]

    def log_gradient(self, params: Any, x: Array, t: int, labels: Array) -> Array:
        """Return ∇_x log p(label | x, t), of x's shape, each example with its own label."""
        a, b = self.schedule.signal(t), self.schedule.spread(t)
        ones = np.ones_like(x, shape=(x.shape[0], 1))
        levels = np.concatenate([float(a) * ones, float(b) * ones], axis=1)
        logits, model_cache = self.model.forward(params, x, levels)
        nll, nll_cache = reference.categorical_nll_forward(labels, logits)
        dlogits = reference.categorical_nll_backward(-np.ones_like(nll), nll_cache)  # of −loss
        return self.model.backward(dlogits, model_cache)[0]  # (NCL.4)
