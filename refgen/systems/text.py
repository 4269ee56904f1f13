"""Text to image: pixels ask the words of a caption by cross-attention.

Lectures   3 (text guidance), 4 (conditioning on a text)          Source  rombach2022-latent

Everything is in guided.py; here a network is told a sentence of a tiny language, which is made from
the picture and its label (refgen.data.captions), through an encoder that learns with it or stays
as it was drawn.
"""

from dataclasses import dataclass
from typing import ClassVar

from refgen.data.captions import language
from refgen.systems.guided import Guided
from refgen.systems.system import refuse_points, refuse_unknown
from refgen.systems.telling import ByCaption

ENCODERS = ("learned", "frozen")


@dataclass(frozen=True)
class Text(Guided):
    """A noise predictor ε̂(x, t, words), a UNet.

    classes is the number of labels; language is one of refgen.data.captions, or auto. features is
    the size of a token.
    """

    model: str = "unet"
    hidden: int = 64
    blocks: int = 1
    classes: int = 10
    language: str = "auto"
    encoder: str = "learned"
    features: int = 32
    requests: ClassVar[tuple[str, ...]] = ("caption", "guidance", "between")

    def __post_init__(self) -> None:
        refuse_unknown("encoder", self.encoder, ENCODERS)
        refuse_points("captions are", self.shape, "scenes")
        super().__post_init__()

    @property
    def teller(self) -> ByCaption:
        """Captions."""
        said = language(self.language, self.shape, self.classes)
        return ByCaption(said, self.features, self.encoder == "frozen", self.ops)
