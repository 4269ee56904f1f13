r"""Claims on how the game moves: where the two generator losses agree, and what steps on x y do.

Sources    goodfellow2014-gan  section 3

Truths are complex steps through the losses written out, and steps of descent and ascent taken one
by one.
"""

import math

import numpy as np

from refgen import ops
from refgen.check import complex_step
from refgen.claims.claim import Claim, Form
from refgen.claims.gan import FAMILY, GAME, log_fake, log_real, slope
from refgen.claims.residual import gap, largest
from refgen.noise import Noise
from refgen.typing import Array

ROUNDING = 1e-9
PROBLEM = 'L4 "GANs are Problematic to Train"'


# Two losses of the generator


def _ns_equal_only_at_half(form: Form, noise: Noise) -> float:
    a = np.concatenate([[0.0, -7.0], 2 * noise.normal((6,))])
    ratio = slope(lambda a: -log_real(a), a) / slope(log_fake, a)
    return gap(form(a), ratio)


def generator_slope(loss: str, a: Array) -> Array:
    """Return the slope of a generator's loss in the logit, by the project."""
    _, cache = getattr(ops, f"{loss}_loss_forward")(a)
    return np.asarray(getattr(ops, f"{loss}_loss_backward")(np.ones_like(a), cache))


def same_fixed_point(form: Form, noise: Noise) -> float:
    """Compare the motion of θ, one generated point, with data at 0 and D(x) = σ(ψ x).

    θ moves by −ψ form(ψ θ). Near the fixed point (0, 0) it must move as under the minimax loss;
    away from it as under the non-saturating one.
    """
    direction, h = noise.at("direction").normal((2, 4)), 1e-6
    theta, psi = h * direction
    near = -psi * (form(theta * psi) - slope(log_fake, theta * psi)) / h
    theta, psi = direction
    away = -psi * (form(theta * psi) - slope(lambda a: -log_real(a), theta * psi))
    return largest(np.max(np.abs(near)), np.max(np.abs(away)))


# Steps on x y


def _play(alpha: float, point: Array, steps: int, alternate: bool) -> Array:
    """Return the points of descent in x and ascent in y on x y, from complex-step gradients."""
    points = [point]
    for _ in range(steps):
        x, y = points[-1]
        one = np.ones(())
        x_next = x - alpha * complex_step(lambda x, y=y: x * y, [np.asarray(x)], [one])
        seen = x_next if alternate else x
        y_next = y + alpha * complex_step(lambda y, x=seen: x * y, [np.asarray(y)], [one])
        points.append(np.array([x_next, y_next]))
    return np.stack(points)


def _motion(form: Form, noise: Noise, alternate: bool) -> float:
    alpha = 0.05 + 0.45 * float(noise.at("alpha").uniform(1)[0])
    points = _play(alpha, noise.at("start").normal((2,)), 50, alternate)
    return gap(points[:-1] @ np.asarray(form(alpha)).T, points[1:])


def _minimax_simultaneous(form: Form, noise: Noise) -> float:
    return _motion(form, noise, alternate=False)


def _minimax_alternating(form: Form, noise: Noise) -> float:
    return _motion(form, noise, alternate=True)


def _spiral(alpha: float) -> Array:
    angle = math.atan(alpha)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    spiral: Array = math.sqrt(1 + alpha**2) * turn
    return spiral


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="gan.ns_equal_only_at_half",
        statement=r"\frac{\partial_a(-\log D)}{\partial_a\log(1-D)}=\frac{1-D}D,"
        r"\quad\text{which is 1 only at }D=\tfrac12\text{ and grows as }D\to0",
        family=FAMILY,
        sources=(GAME, "goodfellow2014-gan"),
        right=lambda a: generator_slope("nonsaturating", a) / generator_slope("minimax", a),
        wrong={
            "the same everywhere": np.ones_like,
            "upside down": lambda a: (
                generator_slope("minimax", a) / generator_slope("nonsaturating", a)
            ),
            "the sign": lambda a: (
                -generator_slope("nonsaturating", a) / generator_slope("minimax", a)
            ),
        },
        check=_ns_equal_only_at_half,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.same_fixed_point",
        statement=r"D=\sigma(\psi\theta):\ \dot\theta=-\psi\,\partial_aL_G(\psi\theta)"
        r"\text{ has the same Jacobian at }(0,0)\text{ for both losses, and differs elsewhere}",
        family=FAMILY,
        sources=(GAME,),
        right=lambda a: generator_slope("nonsaturating", a),
        wrong={
            "the same dynamics": lambda a: generator_slope("minimax", a),
            "twice the step": lambda a: 2 * generator_slope("nonsaturating", a),
            "ascent": lambda a: -generator_slope("nonsaturating", a),
        },
        check=same_fixed_point,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.minimax_simultaneous",
        statement=r"\min_x\max_yxy,\text{ both at once: }"
        r"\begin{pmatrix}1&-\alpha\\\alpha&1\end{pmatrix}=\sqrt{1+\alpha^2}\,R(\arctan\alpha)",
        family=FAMILY,
        sources=(PROBLEM,),
        right=_spiral,
        wrong={
            "a rotation, no growth": lambda a: _spiral(a) / math.sqrt(1 + a**2),
            "x first, then y": lambda a: np.array([[1, -a], [a, 1 - a**2]]),
            "both descend": lambda a: np.array([[1, -a], [-a, 1]]),
            "growth 1 + alpha squared": lambda a: _spiral(a) * math.sqrt(1 + a**2),
        },
        check=_minimax_simultaneous,
        tolerance=ROUNDING,
    ),
    Claim(
        id="gan.minimax_alternating",
        statement=r"\min_x\max_yxy,\ x\text{ first: }"
        r"\begin{pmatrix}1&-\alpha\\\alpha&1-\alpha^2\end{pmatrix},"
        r"\quad\det=1,\ |\lambda|=1\ (\alpha<2)",
        family=FAMILY,
        sources=(PROBLEM,),
        right=lambda a: np.array([[1, -a], [a, 1 - a**2]]),
        wrong={
            "both at once, as printed": _spiral,
            "the square's sign": lambda a: np.array([[1, -a], [a, 1 + a**2]]),
            "y first": lambda a: np.array([[1 - a**2, -a], [a, 1]]),
        },
        check=_minimax_alternating,
        tolerance=ROUNDING,
    ),
)
