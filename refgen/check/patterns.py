r"""Causes of a wrong gradient that live in one array: its order, its slices, its parameter.

Shapes     gradient, parameter : (*S)    a comparison along M probes
Legend     y your gradient, g the true one, t the tolerance, θ the parameter

    |y − g − c θ| ≤ 2 t,   c = Σ (y − g) θ / t² / Σ θ² / t²                            (DP.1)

tells a penalty that only one of loss and gradient has; θ = 1 tells a constant.
"""

from collections.abc import Iterator

import numpy as np

from refgen.check.causes import SHARP, VISIBLE, Cause, Comparison, Constant, call, number, simple
from refgen.check.numeric import Probes
from refgen.typing import Array


def reordered(gradient: Array, shape: tuple[int, ...]) -> Iterator[tuple[Cause, Array]]:
    """Yield what the gradient would be if it had been laid down in another order."""
    if gradient.ndim == 2 and gradient.T.shape == shape and min(shape) > 1:
        yield Cause("transposed", "yours is the transpose of the true gradient"), gradient.T
    if gradient.shape != shape:
        return
    for axis, length in enumerate(shape):
        along = f" along axis {axis}" if len(shape) > 1 else ""
        if length > 1:
            text = f"yours is the true gradient in reverse order{along}"
            yield Cause("reversed", text), np.flip(gradient, axis)
        for step in (1, -1) if length > 2 else ():
            text = f"yours is the true gradient shifted by {step:+d}{along}"
            yield Cause("shifted", text), np.roll(gradient, -step, axis)


def reshaped(gradient: Array, shape: tuple[int, ...]) -> Iterator[tuple[Cause, Array]]:
    """Yield what the gradient would be if only its shape were wrong."""
    yield from reordered(gradient, shape)
    was = f"yours has shape {gradient.shape} instead of {shape}"
    if gradient.size == np.prod(shape, dtype=int):
        text = f"{was}: the entries are right, reshape it"
        yield Cause("wrong shape", text), np.reshape(gradient, shape)
    elif gradient.shape[1:] == shape:
        text = f"{was}: sum it over axis 0, the batch"
        yield Cause("wrong shape", text), np.sum(gradient, axis=0)
        text = f"{was}: average it over axis 0, the batch"
        yield Cause("wrong shape", text), np.mean(gradient, axis=0)
    if gradient.ndim == len(shape) and gradient.size:
        grown = [a for a, (n, m) in enumerate(zip(gradient.shape, shape, strict=True)) if n != m]
        if all(shape[a] == 1 for a in grown):
            text = f"{was}: sum it over the axes {grown} that were broadcast"
            yield Cause("wrong shape", text), np.sum(gradient, axis=tuple(grown), keepdims=True)


def added(c: Comparison, along: Array, known: list[Constant]) -> tuple[float, str] | None:
    """Return the multiple of some array (M,) by which yours is off, and how it is written."""
    t, excess = c.tolerance, c.yours - c.true
    weight = float(np.sum(excess * along / t**2) / max(np.sum(along**2 / t**2), 1e-300))
    told = np.abs(weight * along) > VISIBLE * t
    if np.any(np.abs(excess - weight * along) > 2 * t) or np.sum(told) < 3:  # (DP.1)
        return None
    unsure = 2 * float(np.min(t[told] / np.abs(along[told]))) + 1e-9 * abs(weight)
    if unsure > SHARP * abs(weight):
        return None
    name = call(known, lambda v: abs(v - abs(weight)) <= 2 * unsure)
    return weight, number(abs(weight), name)


def sliced(
    c: Comparison, shape: tuple[int, ...], names: tuple[str, ...], known: list[Constant]
) -> list[Cause]:
    """Return the cause that only some rows, columns or entries are wrong.

    Needs a comparison of every entry. Of the axes the one with the smallest wrong part speaks.
    """
    wrong = np.reshape(c.wrong, shape)
    if c.wrong.size > 1 and np.sum(wrong) == 1:
        at = [int(i) for i in np.argwhere(wrong)[0]]
        return [Cause("slice", f"only the entry {at} is wrong; the rest agrees")]
    found: list[tuple[float, int, Array]] = []
    for axis, length in enumerate(shape):
        others = tuple(a for a in range(len(shape)) if a != axis)
        hit = np.flatnonzero(np.any(wrong, axis=others))
        if 0 < 2 * len(hit) <= length:
            found.append((len(hit) / length, axis, hit))
    if not found:
        return _own_factors(c, shape)
    _, axis, hit = min(found, key=lambda f: f[0])
    inside = np.zeros(shape, bool)
    np.moveaxis(inside, axis, 0)[hit] = True
    inside = np.reshape(inside, -1)
    noun = _noun(shape, axis)
    where = _where(noun, hit, shape[axis])
    inner = simple(c.at(inside), names, known)
    if not inner:
        return [Cause("slice", f"only {where} wrong; the rest agrees")]
    first = inner[0]
    verdict = f"{noun} factor" if first.verdict in ("factor", "sign") else "slice"
    return [Cause(verdict, f"only {where} wrong; there {first.text}")]


def _own_factors(c: Comparison, shape: tuple[int, ...]) -> list[Cause]:
    """Return the cause that each row or column is the true one times a factor of its own."""
    for axis in range(len(shape) if len(shape) > 1 else 0):
        y, g, t = (
            np.reshape(np.moveaxis(np.reshape(a, shape), axis, 0), (shape[axis], -1))
            for a in (c.yours, c.true, c.tolerance)
        )
        if np.any(np.sum(np.abs(g) > VISIBLE * t, axis=1) < 2):
            continue
        k = np.sum(y * g / t**2, axis=1) / np.sum(g**2 / t**2, axis=1)
        if np.all(np.abs(y - k[:, None] * g) <= 2 * t * np.maximum(1, np.abs(k))[:, None]):
            noun = _noun(shape, axis)
            shown = ", ".join(f"{v:.4g}" for v in k[:6]) + (", ..." if len(k) > 6 else "")
            return [Cause(f"{noun} factor", f"each {noun} has a factor of its own: {shown}")]
    return []


def _noun(shape: tuple[int, ...], axis: int) -> str:
    if len(shape) == 1:
        return "entry"
    return ("row", "column")[axis] if len(shape) == 2 else f"axis-{axis} slice"


def _where(noun: str, hit: Array, length: int) -> str:
    if len(hit) == 1:
        last = ", the last," if hit[0] == length - 1 else ""
        return f"{noun} {hit[0]}{last} is"
    plural = "entries" if noun == "entry" else f"{noun}s"
    shown = ", ".join(map(str, hit[:8])) + (", ..." if len(hit) > 8 else "")
    return f"{plural} {shown} (of 0 to {length - 1}) are"


def in_array(
    gradient: Array,
    parameter: Array,
    probes: Probes,
    c: Comparison,
    label: str,
    names: tuple[str, ...],
    known: list[Constant],
) -> list[Cause]:
    """Return every cause that explains the gradient of one array, the likeliest first."""
    causes = simple(c, names, known)
    for cause, candidate in reordered(gradient, parameter.shape):
        if not np.any(np.abs(probes.project(candidate) - c.true) > c.tolerance):
            causes.append(cause)
    penalty = added(c, probes.project(parameter), known)
    if penalty:
        has = "has an extra" if penalty[0] > 0 else "lacks"
        text = f"yours {has} {penalty[1]} x {label}: is a penalty only in one of loss and grads?"
        causes.append(Cause("parameter term", text))
    constant = added(c, probes.project(np.ones(parameter.shape)), known)
    if constant:
        size = "large" if constant[0] > 0 else "small"
        text = f"yours is too {size} by {constant[1]} in every entry"
        causes.append(Cause("constant term", text))
    if not causes and len(probes.entries) == parameter.size:
        causes += sliced(c, parameter.shape, names, known)
    return causes
