r"""The classifier: the judge of the others, and the one system that draws nothing.

Shapes     N batch, K classes, F features.   x : (N, *shape)    labels : (N,) in 0 .. K − 1
Lectures   0, 3 (as a guide)         Source  lecun1989-backprop

    loss = −log p(label | x),   p = softmax(logits)                       (CL.1)

Its labels of samples give the share of each class, its features replace pixels where pixels say
little about distance (kynkaanniemi2019-precision-recall).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen.models import ConvNet
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.systems.system import Labelled, Turn
from refgen.typing import Array, Grads, Params

ROWS = 250  # images at a time where nothing is learned


@dataclass(frozen=True)
class Classifier:
    """A small convolutional network and its softmax cross-entropy.

    Training moves every image by up to `shift` pixels along both axes, drawn anew at each step.
    """

    shape: tuple[int, ...]
    classes: int = 10
    channels: int = 16
    hidden: int = 64
    shift: int = 1
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        _ = self.network  # refuses settings that cannot be
        if self.shift < 0 or (len(self.shape) == 3 and 2 * self.shift >= min(self.shape[:2])):
            raise ValueError(f"shift is a few pixels of an image of {self.shape}, not {self.shift}")

    @property
    def network(self) -> ConvNet:
        """The map (N, *shape) -> (N, classes), the logits."""
        return ConvNet(self.shape, self.classes, self.channels, self.hidden, self.ops)

    def init(self, noise: Noise) -> Params:
        """Draw {"model": ...}."""
        return {"model": self.network.init(noise)}

    def turns(self) -> tuple[Turn, ...]:
        """One player, one loss, which needs labels."""
        return (Turn("model", self.gradient, labelled=True, unit="nats"),)

    def gradient(
        self, params: Any, batch: Labelled, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example in nats, gradient of the mean loss)."""
        x, labels = batch
        network = self.network
        logits, cache = network.forward(params["model"], self.moved(x, noise))
        loss, softmax = reference.categorical_nll_forward(labels, logits)  # (CL.1)
        mean = np.full_like(loss, 1 / len(x))
        _, grads = network.backward(reference.categorical_nll_backward(mean, softmax), cache)
        return {"loss": loss}, grads

    def moved(self, x: Array, noise: Noise) -> Array:
        """Return images moved by −shift .. shift pixels each way; what comes in repeats the rim."""
        if x.ndim != 4 or not self.shift:
            return x
        s, (count, height, width, _) = self.shift, x.shape
        rim = np.pad(x, ((0, 0), (s, s), (s, s), (0, 0)), mode="edge")
        corners = noise.integers(2 * s + 1, 2 * count).reshape(count, 2)
        rows = corners[:, :1] + np.arange(height)  # (N, H)
        columns = corners[:, 1:] + np.arange(width)  # (N, W)
        return rim[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]

    def labels(self, params: Any, x: Array) -> Array:
        """Return the likeliest class of each image, (N,) int64."""

        def likeliest(part: Array) -> Array:
            logits, _ = self.network.forward(params["model"], part)
            named: Array = np.argmax(logits, axis=1)
            return named

        return _by_parts(likeliest, x)

    def features(self, params: Any, x: Array) -> Array:
        """Return the activations of the last layer but one, (N, F)."""
        return _by_parts(lambda part: self.network.features(params["model"], part), x)


def _by_parts(function: Callable[[Array], Array], x: Array) -> Array:
    parts = [function(x[i : i + ROWS]) for i in range(0, max(len(x), 1), ROWS)]
    return np.concatenate(parts)
