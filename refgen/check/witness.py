r"""Numerical witnesses: what a hand-derived gradient, log-determinant or order must agree with.

Sources    squire1998-complex-step  (the complex step);  richardson1911  (the extrapolation)

Each derivative is taken along one direction t, so a witness costs a few forward passes
whatever the size of the input, and one random direction sees every entry.

    ∂f/∂x · t = Im f(x + i h t) / h,   h = 10⁻³⁰                                       (W.1)
    D(h) = (f(x + h t) − f(x − h t)) / 2h,   D = (4 D(h/2) − D(h)) / 3                 (W.2)
    gap = |⟨J t, dy⟩ − ⟨t, Jᵀ dy⟩| / (Σ |J t · dy| + Σ |t · Jᵀ dy|)                    (W.3)
    log |det J|,   J e_i along each basis vector e_i                                   (W.4)
    error(n) ~ n⁻ᵖ:   p is minus the slope of log error against log n                  (W.5)

(W.1) subtracts nothing, so it is exact to rounding, but f must be analytic: no abs, no
comparison, no conjugate. (W.2) is for the rest; it returns its own noise floor.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from refgen.typing import Array


def complex_step(
    f: Callable[..., Array], args: Sequence[Array], tangents: Sequence[Array], h: float = 1e-30
) -> Array:
    """Return the derivative of an analytic f(*args) along the tangents, to rounding error.

    >>> float(complex_step(np.exp, [np.array(1.0)], [np.array(2.0)]) / np.e)
    2.0
    """
    moved = (a + 1j * h * t for a, t in zip(args, tangents, strict=True))
    return np.imag(f(*moved)) / h  # (W.1)


class Difference(NamedTuple):
    """A numerical derivative and what it cannot see."""

    value: Array  # the derivative along the tangent
    noise: Array  # estimated error of value, same shape: truncation and cancellation


def central_difference(
    f: Callable[..., Array], args: Sequence[Array], tangents: Sequence[Array], h: float = 1e-3
) -> Difference:
    """Return the derivative of f(*args) along the tangents by one Richardson step, with its noise.

    For float64 f that has kinks or cannot take complex numbers. A kink nearer than h shows
    as a large noise.
    """

    def difference(step: float) -> tuple[Array, Array]:
        up = f(*(a + step * t for a, t in zip(args, tangents, strict=True)))
        down = f(*(a - step * t for a, t in zip(args, tangents, strict=True)))
        rounding = np.finfo(np.float64).eps * (np.abs(up) + np.abs(down)) / step
        return (up - down) / (2 * step), rounding

    coarse, _ = difference(h)
    fine, rounding = difference(h / 2)
    value = (4 * fine - coarse) / 3  # (W.2)
    return Difference(value, np.abs(value - fine) + 8 * rounding)


def adjoint_gap(
    tangents: Sequence[Array],
    grads: Sequence[Array],
    dys: Sequence[Array],
    tangents_out: Sequence[Array],
) -> float:
    """Return how far ⟨J t, dy⟩ and ⟨t, Jᵀ dy⟩ are apart, relative to the size of the terms.

    tangents and grads belong to the inputs, dys and tangents_out to the outputs. Raises ValueError
    where a gradient has another shape than its input: a sum that was forgotten must not pass by
    broadcasting.
    """
    for side, given, found in (("input", tangents, grads), ("output", tangents_out, dys)):
        for i, (a, b) in enumerate(zip(given, found, strict=True)):
            if np.shape(a) != np.shape(b):
                raise ValueError(
                    f"the gradient of {side} {i} has shape {np.shape(b)}, not {np.shape(a)}"
                )
    out = [j * dy for j, dy in zip(tangents_out, dys, strict=True)]
    back = [t * g for t, g in zip(tangents, grads, strict=True)]
    gap = abs(sum(float(np.sum(a)) for a in out) - sum(float(np.sum(b)) for b in back))
    scale = sum(float(np.sum(np.abs(a))) for a in out + back)
    return gap / max(scale, 1e-300)  # (W.3)


def jacobian(f: Callable[[Array], Array], x: Array, h: float = 1e-30) -> Array:
    """Return the dense (M, D) Jacobian of an analytic map at one point x : (D,)."""
    columns = [complex_step(f, [x], [e], h) for e in np.eye(x.size)]
    return np.stack(columns, axis=1)


def logdet_gap(f: Callable[[Array], Array], logdet: float, x: Array) -> float:
    """Return |log |det J| − logdet| for an analytic invertible map f at one point x : (D,)."""
    _, exact = np.linalg.slogdet(jacobian(f, x))
    return abs(float(exact) - logdet)  # (W.4)


def order_of_convergence(steps: Sequence[int], errors: Sequence[float]) -> float:
    """Return p of error ~ steps⁻ᵖ, by least squares in the logarithms.

    >>> order_of_convergence([8, 16, 32], [1 / 8**2, 1 / 16**2, 1 / 32**2])
    2.0
    """
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    return round(-float(slope), 12)  # (W.5)
