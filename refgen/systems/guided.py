r"""A diffusion that is told something, and guided by it without a classifier.

Shapes     N batch.   data, x : (N, *shape)    told : (N, ...)
Lectures   0, 3, 4 (classifier-free guidance)
Sources    ho2022-cfg  algorithms 1 (training), 2 (sampling);  kynkaanniemi2024-interval

    told ← ∅, nothing, with probability `drop`,   loss = ‖ε̂(x, t, told) − ε‖²        (GD.1)
    ε̃ = ε̂(x, t, ∅) + γ (ε̂(x, t, told) − ε̂(x, t, ∅)),   then any sampler             (GD.2)

One network learns both answers, and each is what refgen.processes.guidance says it is: with the
label the mean noise given x and y, without it that given x alone, since what is told nothing is
drawn from all labels.

At γ = 1 samples are of p(x | y). At another γ every level's score is that of a tilted density, and
yet samples are not of p(x) p(y | x)^γ / Z, and depend on the sampler. Say that p(x) is Gaussian of
variance s and p(x | y) of v < s. With u = σ² the guided score falls in x by the rate
(1 − γ)/(s + u) + γ/(v + u), and from a large u to 0 the flow dx/du = −½ score shrinks distances by
the root of s^(1 − γ) v^γ / u. So DDIM in short steps ends in the variance s^(1 − γ) v^γ, where the
tilted density has 1 / ((1 − γ)/s + γ/v). For γ > 1 that is too narrow, and the mean goes too far.
The noise of the ancestral walk leads it part of the way back (tests/laws/test_guided_samplers.py).
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from refgen.models.told import Told, audible
from refgen.noise import Noise
from refgen.objectives import NoisePrediction
from refgen.processes.guidance import Guidance, classifier_free, levels_of
from refgen.systems.single import mean_loss
from refgen.systems.system import NO_REQUEST, Labelled, Request, Turn
from refgen.systems.telling import Teller, nothing, sometimes_nothing, wanted
from refgen.systems.walking import Walking, answers
from refgen.typing import Array, Grads, Params


@dataclass(frozen=True)
class Guided(Walking):
    """What cfg, text-cross-attention and latent-diffusion share.

    drop is the probability that an example is told nothing; guidance is γ, unless a request says
    otherwise. It holds for noise levels guide_above < σ ≤ guide_below, σ² = (1 − ᾱ)/ᾱ, and is 1
    outside; 0 for guide_below means no limit.
    """

    drop: float = 0.1
    guidance: float = 1.0
    guide_above: float = 0.0
    guide_below: float = 0.0
    requests: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.network, self.guide(NO_REQUEST)  # refuse settings that cannot be
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop is a probability below 1, not {self.drop}")

    @property
    def teller(self) -> Teller:
        """What the network is told."""
        raise NotImplementedError

    @property
    def diffused(self) -> tuple[int, ...]:
        """The shape of what is noised: an example, or its code."""
        return self.shape

    @property
    def network(self) -> Any:
        """The network ε̂ of x, t and what is told."""
        return self.teller.network(self.model, self.diffused, self.hidden, self.blocks)

    def objective(self, told: Array) -> NoisePrediction:
        """Return the loss of examples that are told this."""
        network = Told(self.network, {self.teller.name: told})
        return NoisePrediction(network, self.process, self.weight, self.ops)

    def guide(self, request: Request) -> Guidance:
        """Return the guidance asked for. Raises ValueError where nothing was ever told nothing."""
        gamma = self.guidance if request.guidance is None else request.guidance
        if gamma != 1 and self.drop == 0:
            raise ValueError(
                f"guidance {gamma:g} needs the answer without label, which drop=0 does not teach: "
                "train with drop=0.1, or take guidance 1"
            )
        return Guidance(
            gamma, *(request.between or (self.guide_above, self.guide_below or math.inf))
        )

    def init(self, noise: Noise) -> Params:
        """Draw {"model": ...}."""
        return {"model": audible(self.network.init(noise), noise)}

    def turns(self) -> tuple[Turn, ...]:
        """One player, one loss, which needs labels."""
        return (Turn("model", self.gradient, labelled=True),)

    def gradient(
        self, params: Any, batch: Labelled, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example, gradient of the mean loss)."""
        return self.told_gradient(params, batch.data, self.teller.of(batch), noise)

    def told_gradient(
        self, params: Any, data: Array, told: Array, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return the same of what is diffused, each told its own unless it is left out."""
        told = sometimes_nothing(self.teller, told, self.drop, noise.at("drop"), self.ops.words)
        return mean_loss(self.objective(told), params["model"], data, noise)  # (GD.1)

    def predict_noise(self, params: Any, x: Array, t: int, told: Array) -> Array:
        """Return ε̂(x, t, told) at one time."""
        return answers(self.network, params["model"], x, t, {self.teller.name: told})

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
        """Walk from noise to data; what no request says is drawn, each thing as likely."""
        x = self.start(params, (count, *self.diffused), noise)
        numbers = wanted(self.teller, count, noise.at("told"), request, self.ops.words)
        told = self.teller.numbered(numbers)

        def predict(x: Array, t: int, told: Array) -> Array:
            return self.predict_noise(params, x, t, told)

        guided = classifier_free(
            predict, told, nothing(self.teller, told), self.guide(request), levels_of(self.process)
        )  # (GD.2)
        return self.walk(guided, x, noise, sampler=sampler, steps=steps)
