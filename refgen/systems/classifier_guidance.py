r"""Classifier guidance: a diffusion without labels, and a classifier of noise that leads it.

Shapes     N batch.   data, x : (N, *shape)    y : (N,)
Lectures   0, 3 (classifier guidance)
Source     dhariwal2021-adm  algorithm 2

    model         loss = ‖ε̂(x, t) − ε‖²                                              (CG.1)
    classifier    loss = −log p(y | x, t),   x as noisy as the model's               (CG.2)
    ε̃ = ε̂(x, t) − γ √(1 − ᾱ_t) ∇log p(y | x, t),   then any sampler                  (CG.3)

Two players that never meet while they learn: the model names the noise, the classifier the label
of what is noisy. Sampling asks the classifier where its label becomes likelier, by its gradient in
x, derived by hand (refgen.objectives.noisy_classification), and bends the noise that way
(refgen.processes.guidance). Lecture 0 writes w for γ.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from refgen.models.denoiser import Denoiser, denoiser
from refgen.models.noisy_classifier import NoisyClassifier
from refgen.noise import Noise
from refgen.objectives import NoisePrediction
from refgen.objectives.noisy_classification import NoisyClassification
from refgen.processes.guidance import Guidance, by_classifier, levels_of
from refgen.systems.single import mean_loss
from refgen.systems.system import NO_REQUEST, Labelled, Request, Turn
from refgen.systems.telling import ByLabel, wanted
from refgen.systems.walking import Walking, answers, by_parts
from refgen.typing import Array, Grads, Params


@dataclass(frozen=True)
class ClassifierGuidance(Walking):
    """A noise predictor ε̂(x, t) and a classifier p(label | x, t).

    judge_hidden is the width of the classifier. guidance is γ, unless a request says otherwise, for
    noise levels guide_above < σ ≤ guide_below, and 1 outside; 0 for guide_below means no limit.
    """

    classes: int = 10
    judge_hidden: int = 64
    guidance: float = 1.0
    guide_above: float = 0.0
    guide_below: float = 0.0
    requests: ClassVar[tuple[str, ...]] = ("label", "guidance", "between")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.objective, self.judging, self.guide(NO_REQUEST)  # refuse what cannot be

    @property
    def teller(self) -> ByLabel:
        """What guides: labels."""
        return ByLabel(self.classes, self.ops)

    @property
    def network(self) -> Denoiser:
        """The network ε̂, (N, *shape) and (N,) -> (N, *shape)."""
        return denoiser(self.model, self.shape, self.hidden, self.blocks, self.ops)

    @property
    def objective(self) -> NoisePrediction:
        """The loss of the model."""
        return NoisePrediction(self.network, self.process, self.weight, self.ops)

    @property
    def judging(self) -> NoisyClassification:
        """The loss of the classifier, and the gradient that it guides by."""
        classifier = NoisyClassifier(self.shape, self.classes, self.judge_hidden, ops=self.ops)
        return NoisyClassification(classifier, self.process, self.ops)

    def guide(self, request: Request) -> Guidance:
        """Return the guidance asked for."""
        gamma = self.guidance if request.guidance is None else request.guidance
        return Guidance(
            gamma, *(request.between or (self.guide_above, self.guide_below or math.inf))
        )

    def init(self, noise: Noise) -> Params:
        """Draw {"classifier": ..., "model": ...}."""
        classifier = self.judging.model.init(noise.at("classifier"))
        return {"classifier": classifier, "model": self.network.init(noise.at("model"))}

    def turns(self) -> tuple[Turn, ...]:
        """Let the model learn from data, the classifier from data and labels."""
        classifier = Turn("classifier", self.classifier_gradient, labelled=True, unit="nats")
        return (Turn("model", self.gradient), classifier)

    def gradient(self, params: Any, batch: Array, noise: Noise) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example, gradient of the mean loss of the model)."""
        return mean_loss(self.objective, params["model"], batch, noise)  # (CG.1)

    def classifier_gradient(
        self, params: Any, batch: Labelled, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss in nats and right or wrong of each example, gradient of the mean loss)."""
        x, labels = batch
        return mean_loss(self.judging, params["classifier"], x, labels, noise)  # (CG.2)

    def log_gradient(self, params: Any, x: Array, t: int, labels: Array) -> Array:
        """Return ∇_x log p(label | x, t) of each example."""
        judging = self.judging

        def some(x: Array, labels: Array) -> Array:
            return judging.log_gradient(params["classifier"], x, t, labels)

        return by_parts(some, x, labels)

    def sample(
        self,
        params: Any,
        count: int,
        noise: Noise,
        *,
        sampler: str = "",
        steps: int = 0,
        request: Request = NO_REQUEST,
    ) -> Array:
        """Walk from noise to data, led by the classifier; a label that is not asked is drawn."""
        labels = wanted(self.teller, count, noise.at("told"), request, self.ops.words)
        x = self.start(params, (count, *self.shape), noise)

        def predict(x: Array, t: int) -> Array:
            return answers(self.network, params["model"], x, t)

        def uphill(x: Array, t: int) -> Array:
            return self.log_gradient(params, x, t, labels)

        guided = by_classifier(
            predict, uphill, self.guide(request), levels_of(self.process)
        )  # (CG.3)
        return self.walk(guided, x, noise, sampler=sampler, steps=steps)
