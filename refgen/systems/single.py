"""One network, one loss: what a system learns that has a single player.

Shapes     batch : (N, *shape)    terms : (N,) each
"""

from abc import ABC, abstractmethod
from typing import Any

from refgen.noise import Noise
from refgen.systems.system import Turn
from refgen.systems.walking import mean_gradient
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
        objective = self.objective
        terms, cache = objective.forward(params["model"], batch, noise)
        return terms, mean_gradient(objective, terms, cache)
