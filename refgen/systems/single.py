"""One network, one loss: what a system learns that has a single player.

Shapes     batch : (N, *shape)    terms : (N,) each, among them "loss"

A system descends the mean of a batch, so each example weighs 1/N.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from refgen.noise import Noise
from refgen.systems.system import Turn
from refgen.typing import Array, Grads, Params


class Single(ABC):
    """A system with one player, "model": it says what the network is and what it descends."""

    @property
    @abstractmethod
    def network(self) -> Any:
        """The network, with init."""

    @property
    @abstractmethod
    def objective(self) -> Any:
        """The loss, with forward(params, batch, noise) and backward(dloss, cache)."""

    def init(self, noise: Noise) -> Params:
        """Draw {"model": ...}."""
        return {"model": self.network.init(noise)}

    def turns(self) -> tuple[Turn, ...]:
        """One player, one loss."""
        return (Turn("model", self.gradient),)

    def gradient(self, params: Any, batch: Array, noise: Noise) -> tuple[dict[str, Array], Grads]:
        """Return (loss and its parts of each example, gradient of the mean loss)."""
        return mean_loss(self.objective, params["model"], batch, noise)


def mean_loss(
    objective: Any, params: Any, *given: Any, **also: Any
) -> tuple[dict[str, Array], Grads]:
    """Return (terms of each example, gradient of the mean loss) of forward(params, *given)."""
    terms, cache = objective.forward(params, *given, **also)
    return terms, mean_gradient(objective, terms, cache)


def mean_gradient(objective: Any, terms: dict[str, Array], cache: Any) -> Grads:
    """Return the gradient of the mean loss, by the objective's own backward."""
    grads: Grads = objective.backward(np.full_like(terms["loss"], 1 / len(terms["loss"])), cache)
    return grads
