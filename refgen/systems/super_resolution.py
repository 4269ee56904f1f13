r"""Super-resolution: a small picture stands beside the noise as more channels.

Shapes     N batch, H W C image, f factor.   data, x, ε, large : (N, H, W, C)
           small : (N, H/f, W/f, C)
Lectures   4 (conditioning on an image: resized, and concatenated with the noised image)
Sources    saharia2022-sr3;  ho2022-cascaded  (a small picture from a diffusion of its own)

    x = √ᾱ_t data + √(1 − ᾱ_t) ε,   small = the means of f × f pixels of data
    large = bicubic(small),   ε̂ = net([x, large], t),   loss = ‖ε̂ − ε‖²               (SR.1)

[x, large] has 2 C channels. Told a picture that the data belong to, the network learns the mean
noise given x and that picture, so any sampler draws from p(data | small).

So far it enlarges what it is given. That it may be sampled like any other system, a second, smaller
diffusion learns the small pictures; a sample is one of those, enlarged:

    small ~ base,   data ~ p(data | small)                                            (SR.2)

`enlarge` is the half that is judged beside bicubic. One draw is sharp and errs where the small
picture leaves a choice; the mean of many draws is the mean of what the small picture allows, which
is what has the least squared error.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from refgen.data.resize import bicubic, reduce
from refgen.models.denoiser import Denoiser, denoiser
from refgen.models.told import Told, told_denoiser
from refgen.noise import Noise
from refgen.objectives import NoisePrediction
from refgen.systems.single import mean_loss
from refgen.systems.system import Turn, refuse_points
from refgen.systems.walking import Walking, answers
from refgen.typing import Array, Grads, Params


@dataclass(frozen=True)
class SuperResolution(Walking):
    """A UNet ε̂(x, t, enlarged small picture), and a noise predictor of small pictures.

    Raises ValueError for points, and for a factor below 2 or that does not divide the picture.
    """

    model: str = "unet"
    hidden: int = 64
    blocks: int = 1
    factor: int = 2
    samplers: ClassVar[tuple[str, ...]] = ("ancestral", "ddim")

    def __post_init__(self) -> None:
        refuse_points("super-resolution is", self.shape, "digits")
        super().__post_init__()
        if self.factor < 2 or self.shape[0] % self.factor or self.shape[1] % self.factor:
            raise ValueError(
                f"factor is 2 or more and divides {self.shape[0]} and {self.shape[1]}, "
                f"not {self.factor}"
            )
        _ = self.network, self.base  # refuse settings that cannot be

    @property
    def small(self) -> tuple[int, ...]:
        """The shape of a small picture."""
        height, width, channels = self.shape
        return height // self.factor, width // self.factor, channels

    @property
    def network(self) -> Any:
        """The network that enlarges."""
        channels = self.shape[-1]
        return told_denoiser(
            self.model, self.shape, self.hidden, self.blocks, self.ops, image=channels
        )

    @property
    def base(self) -> Denoiser:
        """The network of small pictures."""
        return denoiser(self.model, self.small, self.hidden, self.blocks, self.ops)

    def init(self, noise: Noise) -> Params:
        """Draw {"base": ..., "model": ...}."""
        base = self.base.init(noise.at("base"))
        return {"base": base, "model": self.network.init(noise.at("model"))}

    def turns(self) -> tuple[Turn, ...]:
        """Both learn at once, neither from the other."""
        return (Turn("model", self.gradient), Turn("base", self.base_gradient))

    def gradient(self, params: Any, batch: Array, noise: Noise) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example, gradient of the mean loss) of the enlarger."""
        large = bicubic(reduce(batch, self.factor), self.factor)
        network = Told(self.network, {"image": large})
        objective = NoisePrediction(network, self.process, self.weight, self.ops)
        return mean_loss(objective, params["model"], batch, noise)  # (SR.1)

    def base_gradient(
        self, params: Any, batch: Array, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each example, gradient of the mean loss) of small pictures."""
        objective = NoisePrediction(self.base, self.process, self.weight, self.ops)
        return mean_loss(objective, params["base"], reduce(batch, self.factor), noise)

    def enlarge(
        self,
        params: Any,
        small: Array,
        noise: Noise,
        *,
        draws: int = 1,
        sampler: str = "",
        steps: int = 0,
    ) -> Array:
        """Return pictures (N, *shape) of small ones, each the mean of so many draws.

        Raises ValueError for pictures of another size, and for less than one draw.
        """
        if small.shape[1:] != self.small or draws < 1:
            raise ValueError(
                f"pictures of {self.small} are enlarged by 1 draw or more, not {small.shape[1:]} "
                f"by {draws}"
            )
        large = bicubic(small, self.factor)
        total = 0 * large

        def predict(x: Array, t: int) -> Array:
            return answers(self.network, params["model"], x, t, {"image": large})

        for i in range(draws):
            place = noise.at("draw", i)
            x = self.start(params, large.shape, place)
            total = total + self.walk(predict, x, place, sampler=sampler, steps=steps)
        return total / draws

    def sample(
        self, params: Any, count: int, noise: Noise, *, sampler: str = "", steps: int = 0
    ) -> Array:
        """Draw small pictures, and enlarge them."""
        place = noise.at("small")

        def predict(x: Array, t: int) -> Array:
            return answers(self.base, params["base"], x, t)

        x = self.start(params, (count, *self.small), place)
        small = self.walk(predict, x, place, sampler=sampler, steps=steps)
        if self.clip:
            small = np.clip(small, -self.clip, self.clip)
        return self.enlarge(params, small, noise, sampler=sampler, steps=steps)  # (SR.2)
