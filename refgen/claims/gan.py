"""Claims on the game of two players.

Sources    goodfellow2014-gan
"""

import math
from typing import Any

import numpy as np

from refgen import check, ops
from refgen.claims import beds
from refgen.claims.claim import Claim, Form
from refgen.noise import Noise
from refgen.ops.activation import sigmoid
from refgen.typing import Array

FAMILY = "gan"
GAME = 'L4 "Generative Adversarial Networks"'
TRAINING = ('L2 "Generative Adversarial Networks (GANs)"', GAME, "goodfellow2014-gan algorithm 1")
HARD = 'L4 "GANs are Problematic to Train"'


def _argmax(value: Any) -> float:
    """Return where a concave function of D in (0, 1) is largest, by golden section."""
    low, high, golden = 1e-12, 1 - 1e-12, (math.sqrt(5) - 1) / 2
    for _ in range(90):
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (left, high) if value(left) < value(right) else (low, right)
    return 0.5 * (low + high)


def _optimal(form: Form, noise: Noise) -> float:
    p, q = (beds.between(noise.at(name), 0.05, 3.0) for name in "pq")
    best = _argmax(lambda d: p * math.log(d) + q * math.log(1 - d))
    return abs(float(form(p, q)) - best)


def _at_rest(p: float, q: float) -> float:
    """Return the D at which the project's own discriminator gradient vanishes, by bisection."""
    low, high = np.array([-40.0]), np.array([40.0])
    for _ in range(80):
        logit = 0.5 * (low + high)
        _, cache = ops.discriminator_loss_forward(logit, logit)
        dreal, dfake = ops.discriminator_loss_backward(np.ones(1), cache)
        low, high = (low, logit) if p * dreal[0] + q * dfake[0] > 0 else (logit, high)
    return float(sigmoid(low)[0])


def _densities(noise: Noise) -> tuple[Array, Array, float]:
    """Return two positive densities on one grid, and its spacing."""
    x = np.linspace(-12, 12, 4001)
    worlds = (beds.some_mixture(noise.at(name)) for name in ("data", "generator"))
    p, q = (np.exp(world.log_density(x[:, None])) + 1e-300 for world in worlds)
    return p, q, float(x[1] - x[0])


def _value(form: Form, noise: Noise) -> float:
    p, q, step = _densities(noise)
    middle = 0.5 * (p + q)
    js = 0.5 * step * np.sum(p * np.log(p / middle) + q * np.log(q / middle))
    logit = np.log(p) - np.log(q)  # of D = p / (p + q)
    value = -step * np.sum(p * ops.softplus(-logit) + q * ops.softplus(logit))
    return beds.gap(form(js), value)


def _logits(noise: Noise) -> tuple[Array, Array]:
    return 3 * noise.at("real").normal(6), 3 * noise.at("fake").normal(6)


def _slope(loss: Any, logit: Array) -> Array:
    """Return the derivative of a loss written in D = 1 / (1 + e^−a), literally."""
    return check.complex_step(lambda a: loss(1 / (1 + np.exp(-a))), [logit], [np.ones_like(logit)])


def _discriminator_slopes(form: Form, noise: Noise) -> float:
    real, fake = _logits(noise)
    dreal, dfake = form(real, fake)
    truth = (_slope(lambda d: -np.log(d), real), _slope(lambda d: -np.log(1 - d), fake))
    return beds.gap(dreal, truth[0]) + beds.gap(dfake, truth[1])


def _code_discriminator(real: Array, fake: Array) -> tuple[Array, Array]:
    _, cache = ops.discriminator_loss_forward(real, fake)
    return ops.discriminator_loss_backward(np.ones_like(real), cache)


def _minimax_slope(form: Form, noise: Noise) -> float:
    _, fake = _logits(noise)
    return beds.gap(form(fake), _slope(lambda d: np.log(1 - d), fake))


def _nonsaturating_slope(form: Form, noise: Noise) -> float:
    _, fake = _logits(noise)
    return beds.gap(form(fake), _slope(lambda d: -np.log(d), fake))


def _code_generator(name: str) -> Form:
    def slope(fake: Array) -> Array:
        _, cache = getattr(ops, f"{name}_loss_forward")(fake)
        gradient: Array = getattr(ops, f"{name}_loss_backward")(np.ones_like(fake), cache)
        return gradient

    return slope


def _strengths(form: Form, noise: Noise) -> float:
    fake = np.concatenate([3 * noise.normal(6), [0.0]])  # D = ½ is among them
    truth = _slope(lambda d: -np.log(d), fake) / _slope(lambda d: np.log(1 - d), fake)
    return beds.gap(np.log(form(sigmoid(fake))), np.log(truth))


def _simultaneous(form: Form, noise: Noise) -> float:
    rate, n = beds.between(noise.at("rate"), 0.05, 0.5), beds.integer(noise.at("n"), 5, 40)
    x, y = start = noise.at("start").normal(2)
    for _ in range(n):
        x, y = x - rate * y, y + rate * x  # x descends x y, y climbs it, both from the old point
    return abs(math.log(form(rate, n)) - math.log(math.hypot(x, y) / np.linalg.norm(start)))


def _alternating(form: Form, noise: Noise) -> float:
    rate, columns = beds.between(noise, 0.05, 1.5), []
    for x, y in np.eye(2):
        x = x - rate * y
        columns.append((x, y + rate * x))  # y sees where x has gone
    matrix = np.array(columns).T
    found = np.asarray(form(rate))
    spin = np.abs(np.linalg.eigvals(found))
    return float(np.max(np.abs(found - matrix)) + np.max(np.abs(spin - 1)))


def _conditional(form: Form, noise: Noise) -> float:
    joint = noise.at("joint").uniform((3, 2))
    joint /= joint.sum()
    label = joint.sum(axis=0)
    fake = noise.at("fake").uniform((3, 2))
    fake /= fake.sum(axis=0)  # q(x | y)
    found, worst = form(joint, fake), 0.0
    for x in range(3):
        for y in range(2):
            p, q = joint[x, y], label[y] * fake[x, y]
            best = _argmax(lambda d, p=p, q=q: p * math.log(d) + q * math.log(1 - d))
            worst = max(worst, abs(float(found[x, y]) - best))
    return worst


def _given_label(joint: Array, fake: Array) -> Array:
    real = joint / joint.sum(axis=0)
    d: Array = real / (real + fake)
    return d


CLAIMS = (
    Claim(
        "gan.optimal_D",
        r"D^*(x) = \frac{p_r(x)}{p_r(x) + p_g(x)}",
        FAMILY,
        (*TRAINING, 'L1 "Previously in CS492D"', "goodfellow2014-gan proposition 1"),
        _at_rest,
        {
            "the generator's share": lambda p, q: q / (p + q),
            "undecided everywhere": lambda p, q: 0.5,
            "odds for probability": lambda p, q: min(p / q, 1.0),
        },
        _optimal,
        1e-6,  # golden section resolves the flat top to the root of rounding
    ),
    Claim(
        "gan.value_js",
        r"V(D^*, G) = -2\log 2 + 2\,\mathrm{JS}(p_r \Vert p_g)",
        FAMILY,
        (*TRAINING, "goodfellow2014-gan theorem 1"),
        lambda js: -2 * math.log(2) + 2 * js,
        {
            "JS once": lambda js: -2 * math.log(2) + js,
            "the constant once": lambda js: -math.log(2) + 2 * js,
            "the sign of JS": lambda js: -2 * math.log(2) - 2 * js,
        },
        _value,
        1e-9,
    ),
    Claim(
        "gan.disc_grad",
        r"\partial_a[-\log D(x) - \log(1 - D(G(z)))]: -(1 - D) \text{ real},\ D \text{ fake}",
        FAMILY,
        TRAINING,
        _code_discriminator,
        {
            "the ascent's sign": lambda r, f: (1 - sigmoid(r), -sigmoid(f)),
            "players swapped": lambda r, f: (-sigmoid(r), 1 - sigmoid(f)),
            "slope of the sigmoid kept": lambda r, f: (
                -(sigmoid(r) * (1 - sigmoid(r))),
                sigmoid(f) * (1 - sigmoid(f)),
            ),
        },
        _discriminator_slopes,
        1e-9,
    ),
    Claim(
        "gan.sat_grad",
        r"\partial_a \log(1 - D(G(z))) = -D",
        FAMILY,
        TRAINING,
        _code_generator("minimax"),
        {
            "the other loss": lambda f: -(1 - sigmoid(f)),
            "the sign": lambda f: sigmoid(f),
        },
        _minimax_slope,
        1e-9,
    ),
    Claim(
        "gan.nonsat_grad",
        r"\partial_a [-\log D(G(z))] = -(1 - D) = \partial_a \mathrm{BCE}(1, D)",
        FAMILY,
        (GAME, "goodfellow2014-gan section 3"),
        _code_generator("nonsaturating"),
        {
            "the other loss": lambda f: -sigmoid(f),
            "the fake label": lambda f: sigmoid(f),
        },
        _nonsaturating_slope,
        1e-9,
    ),
    Claim(
        "gan.ns_equal_only_at_half",
        r"\frac{\partial_a[-\log D]}{\partial_a \log(1 - D)} = \frac{1 - D}{D}: "
        r"1 \text{ at } D = \tfrac12,\ \to \infty \text{ as } D \to 0",
        FAMILY,
        (GAME,),
        lambda d: (1 - d) / d,
        {
            "equal everywhere": lambda d: np.ones_like(d),
            "upside down": lambda d: d / (1 - d),
        },
        _strengths,
        1e-9,
    ),
    Claim(
        "gan.minimax_simultaneous",
        r"\left\Vert\begin{pmatrix}1&-\alpha\\\alpha&1\end{pmatrix}^n v\right\Vert "
        r"= (1 + \alpha^2)^{n/2} \Vert v\Vert",
        FAMILY,
        (HARD,),
        lambda rate, n: (1 + rate * rate) ** (n / 2),
        {
            "it stays on a circle": lambda rate, n: 1.0,
            "no half": lambda rate, n: (1 + rate * rate) ** n,
            "it converges": lambda rate, n: (1 - rate * rate) ** (n / 2),
        },
        _simultaneous,
        1e-9,
    ),
    Claim(
        "gan.minimax_alternating",
        r"\text{alternating steps: } \begin{pmatrix}1&-\alpha\\\alpha&1-\alpha^2\end{pmatrix},\ "
        r"\det = 1,\ |\lambda| = 1 \ (\alpha < 2)",
        FAMILY,
        (HARD,),
        lambda rate: [[1, -rate], [rate, 1 - rate * rate]],
        {
            "the simultaneous matrix": lambda rate: [[1, -rate], [rate, 1]],
            "the other player first": lambda rate: [[1 - rate * rate, -rate], [rate, 1]],
        },
        _alternating,
        1e-9,
    ),
    Claim(
        "gan.conditional",
        r"D^*(x, y) = \frac{p_r(x \mid y)}{p_r(x \mid y) + p_g(x \mid y)}",
        FAMILY,
        ('L4 "Conditional GAN"', 'L3 "Conditional models"'),
        _given_label,
        {
            "labels ignored": lambda joint, fake: np.broadcast_to(
                (joint.sum(axis=1) / (joint.sum(axis=1) + fake @ joint.sum(axis=0)))[:, None],
                joint.shape,
            ),
            "the joint for the conditional": lambda joint, fake: joint / (joint + fake),
        },
        _conditional,
        1e-6,
    ),
)
