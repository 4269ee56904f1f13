r"""Claims on what is given to a network beside the noisy image.

Sources    rombach2022-latent  section 3.3

An image condition is more channels; a text condition is a row of tokens that the pixels ask.
"""

import numpy as np

from refgen import check, ops
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.typing import Array

SOURCES = ('L4 "Conditional Models, Classifier-Free Guidance"', "rombach2022-latent")


def _conditions(form: Form, noise: Noise) -> float:
    """Differentiate both conditions by complex steps through formulas written out again."""
    shapes = {"x": (2, 3, 3, 2), "image": (2, 3, 3, 3), "w": (1, 1, 5, 4), "tokens": (2, 4, 3)}
    x, image, w, tokens = (noise.at(name).normal(shape) for name, shape in shapes.items())
    to_k, to_v = noise.at("to_k").normal((3, 4)), noise.at("to_v").normal((3, 4))
    dy = noise.at("dy").normal((2, 9, 4))
    dimage, dtokens = form(x, image, w, tokens, to_k, to_v, dy)
    gaps = []
    for found, at in ((dimage, 0), (dtokens, 1)):
        given = [image, tokens]
        t = noise.at("t", at).normal(given[at].shape)

        def moved(a: Array, at: int = at, given: list[Array] = given) -> Array:
            first, second = (a if i == at else b for i, b in enumerate(given))
            return _look(x, first, second, w, to_k, to_v)

        along = check.complex_step(moved, [given[at]], [t])
        gaps.append(gap(np.sum(t * found), np.sum(along * dy)))
    return largest(*gaps)


def _look(x: Array, image: Array, tokens: Array, w: Array, to_k: Array, to_v: Array) -> Array:
    """Return softmax(Q Kᵀ / √d) V with Q from the pixels of [x, image], one sum after another."""
    q = np.reshape(x @ w[0, 0, :2] + image @ w[0, 0, 2:], (2, 9, 4))
    e = np.exp(np.einsum("nld,nmd->nlm", q, tokens @ to_k) / 2.0)
    y: Array = np.einsum("nlm,nmd->nld", e / np.sum(e, axis=2)[:, :, None], tokens @ to_v)
    return y


def _gradients(keys: float = 1.0, values: float = 1.0, scale: float = 1.0, first: int = 2) -> Form:
    def form(
        x: Array, image: Array, w: Array, tokens: Array, to_k: Array, to_v: Array, dy: Array
    ) -> tuple[Array, Array]:
        joined, conv = ops.conv2d_forward(np.concatenate([x, image], axis=-1), w, np.zeros(4))
        q = np.reshape(joined, dy.shape)
        _, cache = ops.attention_forward(scale * q, tokens @ to_k, tokens @ to_v, heads=1)
        dq, dk, dv = ops.attention_backward(dy, cache)
        dinput, _, _ = ops.conv2d_backward(np.reshape(scale * dq, joined.shape), conv)
        return dinput[..., first : first + 3], keys * dk @ to_k.T + values * dv @ to_v.T

    return form


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="cond.concat_crossattn",
        statement=r"\text{image: }[x,c];\quad\text{text: }\mathrm{softmax}(QK_y^\top/\sqrt d)V_y",
        family="conditional",
        sources=SOURCES,
        right=_gradients(),
        wrong={
            "what the values feel only": _gradients(keys=0.0),
            "what the keys feel only": _gradients(values=0.0),
            "no 1/√d": _gradients(scale=2.0),
            "the image's channels looked for among those of x": _gradients(first=0),
        },
        check=_conditions,
        tolerance=1e-9,
    ),
)
