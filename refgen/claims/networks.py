r"""Claims on the gradients of the parts that image networks are built of.

Sources    vaswani2017-attention;  dumoulin2016-guide;  ioffe2015-batch-norm;  perez2018-film;
           ho2020-ddpm  appendix B

Truths are complex steps through formulas that are written out here a second time, sums over
windows one by one, and counts of pairs.
"""

import numpy as np

from refgen import check, ops
from refgen.claims.claim import Claim, Form
from refgen.claims.residual import gap, largest
from refgen.layers import SelfAttention
from refgen.models.summary import rows
from refgen.noise import Noise
from refgen.ops.attention import attention_weights
from refgen.typing import Array

FAMILY = "architecture"
ARCHITECTURES = 'L4 "Architectures of Diffusion Models, Suitable Also for FM"'
ROUNDING = 1e-9
CHANNELS = 8


def _attention_work(form: Form, noise: Noise) -> float:
    width = 3 + int(noise.at("width").integers(4, 1)[0])
    pairs = len([0 for query in range(width**2) for key in range(width**2)])
    products = 2  # of the query with the key, of the weight with the value
    counted = gap(form(width), products * pairs * 2 * CHANNELS)
    return largest(counted, gap(form(2 * width) / form(width), 2.0**4))


def _counted(width: int, op: str = "attention") -> int:
    """Return the FLOPs of an op in self-attention on a square image."""
    layer = SelfAttention(CHANNELS, heads=2, groups=2)
    image = np.zeros((1, width, width, CHANNELS))
    return sum(row.flops for row in rows(layer, layer.init(Noise(0)), image) if row.op == op)


def _attention_grad(form: Form, noise: Noise) -> float:
    q, k, v, dy, t = (noise.at(name).normal((1, 4, 3)) for name in ("q", "k", "v", "dy", "t"))
    along = check.complex_step(lambda q: _attend(q, k, v), [q], [t])
    return gap(np.sum(t * form(q, k, v, dy)), np.sum(along * dy))


def _attend(q: Array, k: Array, v: Array) -> Array:
    """Return the attention of one head, with the softmax as it is written."""
    e = np.exp(q @ np.swapaxes(k, 1, 2) / np.sqrt(3.0))
    y: Array = e / np.sum(e, axis=2, keepdims=True) @ v
    return y


def _dq(q: Array, k: Array, v: Array, dy: Array) -> Array:
    _, cache = ops.attention_forward(q, k, v, heads=1)
    return ops.attention_backward(dy, cache)[0]


def _wrong_dq(kind: str) -> Form:
    def form(q: Array, k: Array, v: Array, dy: Array) -> Array:
        _, cache = ops.attention_forward(q, k, v, heads=1)
        a = attention_weights(cache)[:, 0]
        da = dy @ np.swapaxes(v, 1, 2)
        subtracted = {
            "nothing": 0.0,
            "unweighted": np.sum(da, axis=2, keepdims=True),
            "columns": np.sum(a * da, axis=1, keepdims=True),
            "own": a * da,
        }[kind]
        dq: Array = a * (da - subtracted) @ k / np.sqrt(3.0)
        return dq

    return form


def _transposed_adjoint(form: Form, noise: Noise) -> float:
    x, y = noise.at("x").normal((2, 5, 6, 2)), noise.at("y").normal((2, 3, 3, 2))
    w = noise.at("w").normal((3, 3, 2, 2))
    framed = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    conv = np.zeros_like(y)
    for i, j in np.ndindex(3, 3):  # stride 2, one window after another
        window = framed[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        conv[:, i, j] = np.tensordot(window, w, axes=3)
    return gap(np.sum(x * form(y, w)), np.sum(conv * y))


def _transposed(y: Array, w: Array) -> Array:
    how = {"stride": 2, "padding": 1, "output_padding": (0, 1)}
    return ops.conv_transpose2d_forward(y, w, np.zeros(w.shape[2]), **how)[0]  # type: ignore[arg-type]


def _convolved_upsample(y: Array, w: Array) -> Array:
    larger, _ = ops.nearest_upsample_forward(y, factor=2)
    return ops.conv2d_forward(larger[:, :5], w, np.zeros(2), padding=1)[0]


def _batch_norm_grad(form: Form, noise: Noise) -> float:
    x, dy, t = (noise.at(name).normal((6, 3)) for name in ("x", "dy", "t"))
    eps = 0.3

    def normalized(x: Array) -> Array:
        mean = np.sum(x, axis=0) / 6
        var = np.sum((x - mean) ** 2, axis=0) / 6
        y: Array = (x - mean) / np.sqrt(var + eps)
        return y

    along = check.complex_step(normalized, [x], [t])
    return gap(np.sum(t * form(x, dy, eps)), np.sum(along * dy))


def _batch_norm_dx(x: Array, g: Array, eps: float) -> Array:
    _, mean, var, cache = ops.batch_norm_forward(x, np.ones(3), np.zeros(3), eps=eps)
    return ops.batch_norm_backward(g, 0.0 * mean, 0.0 * var, cache)[0]


def _wrong_norm(mean: float = 1.0, spread: float = 1.0, eps: float = 1.0, count: int = 6) -> Form:
    def form(x: Array, g: Array, epsilon: float) -> Array:
        centred = x - np.mean(x, axis=0)
        r = 1 / np.sqrt(np.sum(centred**2, axis=0) / count + eps * epsilon)
        x_hat = r * centred
        dx: Array = r * (
            g - mean * np.mean(g, axis=0) - spread * x_hat * np.mean(g * x_hat, axis=0)
        )
        return dx

    return form


def _film_grad(form: Form, noise: Noise) -> float:
    """Both paths: through the features, and through what the condition made of them."""
    h, dy, th = (noise.at(name).normal((2, 4, 3)) for name in ("h", "dy", "th"))
    c, tc = noise.at("c").normal((2, 5)), noise.at("tc").normal((2, 5))
    to_scale, to_shift = noise.at("to_scale").normal((5, 3)), noise.at("to_shift").normal((5, 3))

    def steered(h: Array, c: Array) -> Array:
        y: Array = (1 + (c @ to_scale)[:, None]) * h + (c @ to_shift)[:, None]
        return y

    along = check.complex_step(steered, [h, c], [th, tc])
    dh, dc = form(h, c, to_scale, to_shift, dy)
    return gap(np.sum(th * dh) + np.sum(tc * dc), np.sum(along * dy))


def _film(h: Array, c: Array, to_scale: Array, to_shift: Array, dy: Array) -> tuple[Array, Array]:
    _, cache = ops.film_forward(h, c @ to_scale, c @ to_shift)
    dh, dscale, dshift = ops.film_backward(dy, cache)
    return dh, dscale @ to_scale.T + dshift @ to_shift.T


def _wrong_film(one: float = 1.0, by_scale: float = 1.0, by_shift: float = 1.0) -> Form:
    def form(h: Array, c: Array, to_scale: Array, to_shift: Array, dy: Array) -> object:
        dh = (one + (c @ to_scale)[:, None]) * dy
        dscale, dshift = np.sum(dy * h, axis=1), np.sum(dy, axis=1)
        return dh, by_scale * dscale @ to_scale.T + by_shift * dshift @ to_shift.T

    return form


def _resblock_grad(form: Form, noise: Noise) -> float:
    shapes = {"h": (2, 3, 4, 2), "pe": (2, 5), "w1": (3, 3, 2, 2), "w2": (3, 3, 2, 2), "v": (5, 2)}
    h, pe, w1, w2, v = (noise.at(name).normal(shape) for name, shape in shapes.items())
    dy, th = noise.at("dy").normal(h.shape), noise.at("th").normal(h.shape)
    tv = noise.at("tv").normal(v.shape)
    along = check.complex_step(lambda h, v: _block(h, pe, w1, w2, v)[0], [h, v], [th, tv])
    dh, dv = form(h, pe, w1, w2, v, dy)
    return gap(np.sum(th * dh) + np.sum(tv * dv), np.sum(along * dy))


def _block(
    h: Array, pe: Array, w1: Array, w2: Array, v: Array
) -> tuple[Array, tuple[object, object, object, object]]:
    """Return h + conv₂(silu(conv₁(silu(h)) + PE(t) V)) and the caches of its parts."""
    a, first = ops.silu_forward(h)
    b, conv1 = ops.conv2d_forward(a, w1, np.zeros(2), padding=1)
    c, second = ops.silu_forward(b + (pe @ v)[:, None, None])
    d, conv2 = ops.conv2d_forward(c, w2, np.zeros(2), padding=1)
    return h + d, (first, conv1, second, conv2)


def _block_grad(skip: float = 1.0, pixels: str = "sum", late: bool = False) -> Form:
    def form(h: Array, pe: Array, w1: Array, w2: Array, v: Array, dy: Array) -> object:
        first, conv1, second, conv2 = _block(h, pe, w1, w2, v)[1]
        dc, _, _ = ops.conv2d_backward(dy, conv2)  # type: ignore[arg-type]
        db = ops.silu_backward(dc, second)  # type: ignore[arg-type]
        da, _, _ = ops.conv2d_backward(db, conv1)  # type: ignore[arg-type]
        felt = dy if late else db
        dtime = np.sum(felt, axis=(1, 2)) if pixels == "sum" else np.mean(felt, axis=(1, 2))
        return skip * dy + ops.silu_backward(da, first), pe.T @ dtime  # type: ignore[arg-type]

    return form


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="arch.selfattn_W4",
        statement=r"\text{self-attention on a }W\times W\text{ grid costs }4CW^4\text{ FLOPs}",
        family=FAMILY,
        sources=(ARCHITECTURES, "vaswani2017-attention"),
        right=_counted,
        wrong={
            "of its projections": lambda width: _counted(width, "dense"),
            "of a 3x3 convolution": lambda width: 2 * 9 * CHANNELS**2 * width**2,
            "among the pixels of a row": lambda width: 4 * CHANNELS * width**3,
            "one product instead of two": lambda width: 2 * CHANNELS * width**4,
        },
        check=_attention_work,
        tolerance=ROUNDING,
    ),
    Claim(
        id="arch.attention_grad_q",
        statement=r"dS=A\odot(dA-\mathrm{rowsum}(A\odot dA)),\quad dq=dS\,k/\sqrt d",
        family=FAMILY,
        sources=(ARCHITECTURES, "vaswani2017-attention"),
        right=_dq,
        wrong={
            "no row sum": _wrong_dq("nothing"),
            "row sum of dA without its weights": _wrong_dq("unweighted"),
            "column sum": _wrong_dq("columns"),
            "entries taken for sigmoids": _wrong_dq("own"),
            "1/√d forgotten": lambda *args: np.sqrt(3.0) * _dq(*args),
        },
        check=_attention_grad,
        tolerance=ROUNDING,
    ),
    Claim(
        id="arch.transposed_conv_adjoint",
        statement=r"\langle\mathrm{conv}(x),y\rangle=\langle x,\mathrm{conv}^\top(y)\rangle",
        family=FAMILY,
        sources=('L4 "Deep Convolutional GAN"', "dumoulin2016-guide"),
        right=_transposed,
        wrong={
            "filter turned over": lambda y, w: _transposed(y, w[::-1, ::-1]),
            "channels not exchanged": lambda y, w: _transposed(y, np.swapaxes(w, 2, 3)),
            "one pixel to the right": lambda y, w: np.roll(_transposed(y, w), 1, axis=2),
            "pixels repeated, then convolved": _convolved_upsample,
        },
        check=_transposed_adjoint,
        tolerance=ROUNDING,
    ),
    Claim(
        id="arch.batchnorm_grad",
        statement=r"dx=\tfrac1{\sqrt{v+\epsilon}}(g-\bar g-\hat x\,\overline{g\hat x})",
        family=FAMILY,
        sources=('L4 "Deep Convolutional GAN"', "ioffe2015-batch-norm"),
        right=_batch_norm_dx,
        wrong={
            "statistics held fixed": _wrong_norm(mean=0.0, spread=0.0),
            "mean of the gradient dropped": _wrong_norm(mean=0.0),
            "spread dropped": _wrong_norm(spread=0.0),
            "eps left out": _wrong_norm(eps=0.0),
            "variance over M − 1": _wrong_norm(count=5),
        },
        check=_batch_norm_grad,
        tolerance=ROUNDING,
    ),
    Claim(
        id="arch.film_adaln_grad",
        statement=r"h\mapsto(1+\gamma(c))\odot h+\beta(c)",
        family=FAMILY,
        sources=('L0 "Backbones - UNet & DiT"', "perez2018-film"),
        right=_film,
        wrong={
            "γ for 1 + γ": _wrong_film(one=0.0),
            "the path through γ forgotten": _wrong_film(by_scale=0.0),
            "the path through β forgotten": _wrong_film(by_shift=0.0),
            "mean over places": _wrong_film(by_scale=0.25, by_shift=0.25),
        },
        check=_film_grad,
        tolerance=ROUNDING,
    ),
    Claim(
        id="arch.temb_resblock_grad",
        statement=r"h+\mathrm{conv}_2(\mathrm{act}(\mathrm{conv}_1(\mathrm{act}(h))+W\,PE(t)))",
        family=FAMILY,
        sources=(ARCHITECTURES, "ho2020-ddpm"),
        right=_block_grad(),
        wrong={
            "the way around forgotten": _block_grad(skip=0.0),
            "mean over pixels": _block_grad(pixels="mean"),
            "time added after the second convolution": _block_grad(late=True),
        },
        check=_resblock_grad,
        tolerance=ROUNDING,
    ),
)
