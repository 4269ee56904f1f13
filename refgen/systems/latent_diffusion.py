r"""Latent diffusion: an autoencoder first, then a diffusion of its codes, decoded at the end.

Shapes     N batch, H W C image, f factor, c channels of a code.
           x : (N, H, W, C)    z : (N, H/f, W/f, c)
Lectures   4 (latent diffusion, cross-attention)
Source     rombach2022-latent

    first      autoencoder ← the bound of objectives/autoencoding.py                  (LD.1)
    then       z = encode(x), fixed,   loss = ‖ε̂(a z + b ε, t, told) − ε‖²             (LD.2)
    sampling   z by any sampler, guided as in guided.py,   x = decode(z)              (LD.3)

Two players, one after the other: `share` of the training belongs to the autoencoder. The codes of
models/autoencoder.py have variance 1 by construction, so nothing has to be scaled in between.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from refgen.data.captions import language
from refgen.models.autoencoder import Autoencoder
from refgen.noise import Noise
from refgen.objectives.autoencoding import Autoencoding
from refgen.systems.guided import Guided
from refgen.systems.single import mean_loss
from refgen.systems.system import NO_REQUEST, Labelled, Request, Turn, refuse_points, refuse_unknown
from refgen.systems.telling import ByCaption, ByLabel
from refgen.systems.walking import by_parts
from refgen.typing import Array, Grads, Params

CONDITIONS = ("label", "caption")


@dataclass(frozen=True)
class LatentDiffusion(Guided):
    """An autoencoder of images and a noise predictor of its codes.

    condition says what the predictor is told: label (any network), or caption (a UNet, by
    cross-attention), in a language of refgen.data.captions. factor is how much smaller a code is,
    latent its channels, channels the autoencoder's first, shake the s of its bound.
    """

    model: str = "unet"
    hidden: int = 64
    blocks: int = 1
    classes: int = 10
    condition: str = "label"
    language: str = "auto"
    features: int = 32
    factor: int = 2
    latent: int = 4
    channels: int = 16
    shake: float = 0.1
    var: float = 0.01
    share: float = 0.4
    requests: ClassVar[tuple[str, ...]] = ("label", "caption", "guidance", "between")

    def __post_init__(self) -> None:
        refuse_points("latent-diffusion is", self.shape, "digits")
        refuse_unknown("condition", self.condition, CONDITIONS)
        if not 0 < self.share < 1:
            raise ValueError(f"share is the autoencoder's part, between 0 and 1, not {self.share}")
        _ = self.coding  # refuses settings that cannot be
        super().__post_init__()

    @property
    def autoencoder(self) -> Autoencoder:
        """The maps between images and codes."""
        return Autoencoder(self.shape, self.factor, self.latent, self.channels, self.ops)

    @property
    def coding(self) -> Autoencoding:
        """The loss of the autoencoder."""
        return Autoencoding(self.autoencoder, self.shake, self.var, self.ops)

    @property
    def diffused(self) -> tuple[int, ...]:
        """The shape of a code."""
        return self.autoencoder.code

    @property
    def teller(self) -> ByLabel | ByCaption:
        """Labels or captions."""
        if self.condition == "label":
            return ByLabel(self.classes, self.ops)
        said = language(self.language, self.shape, self.classes)
        return ByCaption(said, self.features, ops=self.ops)

    def init(self, noise: Noise) -> Params:
        """Draw {"autoencoder": ..., "model": ...}."""
        autoencoder = self.autoencoder.init(noise.at("autoencoder"))
        return {"autoencoder": autoencoder, **super().init(noise.at("model"))}

    def turns(self) -> tuple[Turn, ...]:
        """Let the autoencoder learn first, then the model of its codes."""
        return (
            Turn("autoencoder", self.autoencoder_gradient, until=self.share, unit="nats"),
            Turn("model", self.gradient, labelled=True, since=self.share),
        )

    def autoencoder_gradient(
        self, params: Any, batch: Array, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss, recon and kl of each image in nats, gradient of the mean loss)."""
        return mean_loss(self.coding, params["autoencoder"], batch, noise)  # (LD.1)

    def gradient(
        self, params: Any, batch: Labelled, noise: Noise
    ) -> tuple[dict[str, Array], Grads]:
        """Return (loss of each code, gradient of the mean loss) of the model."""
        codes = self.autoencoder.encode(params["autoencoder"], batch.data)  # (LD.2)
        told = self.teller.of(batch)  # of the picture, not of its code
        return self.told_gradient(params, codes, told, noise)

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
        """Walk from noise to codes, and decode them."""
        z = super().sample(params, count, noise, sampler=sampler, steps=steps, request=request)
        decode = partial(self.autoencoder.decode, params["autoencoder"])
        return by_parts(decode, z)  # (LD.3)
