r"""A network that is told a sentence: words become tokens, and the image asks them.

Shapes     N batch, L words of a sentence, V words of the language, F features of a token.
           words : (N, L) of integers    tokens : (N, L, F)    t : (N,)
           x, y, dx, dy : (N, H, W, C)
Sources    rombach2022-latent  section 3.3 (cross-attention to an encoder of the text);
           saharia2022-imagen  section 2.1 (an encoder that stays as it is);
           vaswani2017-attention  section 3

    h = E[word] + P,   P one row for each place                                   (CP.1)
    tokens = norm(block(h))                                                       (CP.2)
    y = net(x, t, tokens)                                                         (CP.3)

Where the word stands is said by P alone. The block lets words see each other, so that the token of
a noun may say how many; the norm makes tokens as large as pixels' features.

Adjoint. Every attention of the network has asked the tokens; their gradients arrive summed, and
go through the encoder read backwards. What is frozen gets none.                  (CP.4)
"""

from dataclasses import dataclass, field
from typing import Any

from refgen import ops as reference
from refgen import tree
from refgen.layers import Embedding, LayerNorm, Positions, TransformerBlock
from refgen.models.unet import UNet
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params


@dataclass(frozen=True)
class TextEncoder:
    """Map sentences (N, length) of `words` words to tokens (N, length, features).

    Raises ValueError for features that heads do not divide.
    """

    words: int
    length: int
    features: int = 32
    heads: int = 4
    ops: Ops = field(default=reference, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._layers()  # refuses sizes that cannot be

    def init(self, noise: Noise) -> Params:
        """Draw the parameters."""
        return {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}

    def forward(self, params: Any, words: Array) -> tuple[Array, Cache]:
        """Return (tokens, cache). Raises ValueError for words that the language does not have."""
        layers = self._layers()
        rows, lookup = layers["word"].forward(params["word"], words)
        h, _ = layers["place"].forward(params["place"], rows)  # (CP.1)
        h, block = layers["block"].forward(params["block"], h)
        tokens, norm = layers["norm"].forward(params["norm"], h)  # (CP.2)
        return tokens, (lookup, block, norm)

    def backward(self, dtokens: Array, cache: Cache) -> Grads:
        """Return grads; words have no gradient."""
        lookup, block, norm = cache
        layers, grads = self._layers(), dict[str, Any]()
        dh, grads["norm"] = layers["norm"].backward(dtokens, norm)
        dh, grads["block"] = layers["block"].backward(dh, block)
        dh, grads["place"] = layers["place"].backward(dh, None)
        grads["word"] = layers["word"].backward(dh, lookup)
        return grads

    def _layers(self) -> dict[str, Any]:
        return {
            "word": Embedding(self.words, self.features),
            "place": Positions((self.length,), self.features),
            "block": TransformerBlock(self.features, self.heads, self.ops),
            "norm": LayerNorm(self.features, self.ops),
        }


@dataclass(frozen=True)
class Captioned:
    """A UNet with an encoder of sentences before it, (x, t, words) -> y.

    Raises ValueError where the UNet's tokens are of another size than the encoder's.
    """

    network: UNet
    encoder: TextEncoder
    frozen: bool = False

    def __post_init__(self) -> None:
        if self.network.context != self.encoder.features:
            raise ValueError(
                f"tokens are of one size, not {self.network.context} and {self.encoder.features}"
            )

    def init(self, noise: Noise) -> Params:
        """Draw {"network", "encoder"}."""
        encoder = self.encoder.init(noise.at("encoder"))
        return {"network": self.network.init(noise.at("network")), "encoder": encoder}

    def forward(self, params: Any, x: Array, t: Array, words: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        tokens, asked = self.encoder.forward(params["encoder"], words)
        y, cache = self.network.forward(params["network"], x, t, tokens=tokens)  # (CP.3)
        return y, (asked, cache)

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        asked, network_cache = cache
        inputs, of_network = self.network.backward_inputs(dy, network_cache)
        assert inputs.tokens is not None  # a network with a context has been given some
        of_encoder = self.encoder.backward(inputs.tokens, asked)  # (CP.4)
        if self.frozen:
            of_encoder = tree.map(lambda g: 0 * g, of_encoder)
        return inputs.x, {"network": of_network, "encoder": of_encoder}
