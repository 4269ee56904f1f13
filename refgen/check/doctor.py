r"""The derivation doctor: whether a gradient is right, and if not, what is wrong with it.

Shapes     K named terms of the loss, M probes of one array.

An entry agrees when it differs from the numerical one by no more than the tolerance

    t = n + 6 r + 32 ε max |y| + 10⁻⁸ |g|                                              (DR.1)

with g the numerical gradient, n its noise (refgen.check.numeric), y yours, r the rounding
in yours as measured along a path, ε the precision of the type you return. All but the last
are the floor: where it exceeds 10⁻⁵ of the array's largest entry and nothing is visibly
wrong, the verdict is "inconclusive", not "agrees". The number of entries loosens nothing.

Before a gradient is blamed: is the loss finite, does it give one value at one point, are the
arguments left alone, is there a derivative at all?
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, SupportsFloat

import numpy as np

from refgen import tree
from refgen.check.case import NOISE, Case
from refgen.check.causes import Comparison, Constant, constants
from refgen.check.numeric import EPS, Numeric, Probes, choose_probes, differentiate
from refgen.check.patterns import in_array, reshaped
from refgen.check.report import AGREES, INCONCLUSIVE, Parameter, Report
from refgen.typing import Array

TOO_COARSE = 1e-5  # a floor above this decides nothing
SMALL = 1e-4  # an array of the gradient below this part of the largest is judged by the largest


def check_grad(
    loss: Callable[[Any], Any],
    grads: Callable[[Any], Any],
    params: Any,
    sizes: Mapping[str, float] | None = None,
) -> Report:
    """Compare grads(params) with the numerical gradient of loss(params), and name what differs.

    params is a nested dict of arrays (or one array), grads returns the same tree, loss a float
    or a dict of named terms that are summed: then the doctor can say which term is wrongly
    weighted. sizes names the numbers of the derivation, {"batch": 5, "beta": 0.7}: a wrong
    factor is called by them, so choose distinct primes. All is judged in float64. Raises
    ValueError for a loss that is no number and for sizes that are not finite and nonzero.
    """
    for name, value in (sizes or {}).items():
        if not (isinstance(value, SupportsFloat) and math.isfinite(float(value)) and value):
            raise ValueError(f"sizes: {name} is {value!r}; give a finite number, not zero")
    point = tree.flatten(tree.map(lambda a: np.array(a, np.float64), params))
    case = Case(loss, grads, params, point)
    with np.errstate(all="ignore"):  # the verdict says what was not finite
        trouble = case.trouble()
        if trouble:
            judged = [
                _unjudged(name, x.shape, INCONCLUSIVE, trouble) for name, x in case.point.items()
            ]
            return Report(tuple(judged))
        return _judge(case, constants(sizes or {}))


def _judge(case: Case, known: list[Constant]) -> Report:
    point, given = case.point, case.gradient(case.point)
    names = tuple(case.terms(point))
    loss_noise, grad_noise = case.rounding()
    probes = {name: choose_probes(x.size, NOISE.at(name)) for name, x in point.items()}
    numerics: dict[str, Numeric] = {}
    for name, x in point.items():

        def along(flat: Array, name: str = name, shape: tuple[int, ...] = x.shape) -> Array:
            try:
                return case.values(point | {name: np.reshape(flat, shape)})
            except Exception:  # a step left the domain of the loss
                if np.iscomplexobj(flat):
                    raise
                return np.full(len(names), np.nan)

        numerics[name] = differentiate(
            along, x.reshape(-1), probes[name], loss_noise, NOISE.at(name)
        )
    largest = max((_largest(np.sum(n.value, axis=1)) for n in numerics.values()), default=0.0)
    changed, judged = case.changed(), []
    for name, x in point.items():
        entry = _verdict(
            name,
            x,
            given.get(name),
            probes[name],
            numerics[name],
            float(grad_noise.get(name, np.zeros(()))),
            SMALL * largest,
            names,
            known,
        )
        if name in changed:
            verdict = "changed argument" if entry.ok else entry.verdict
            entry = replace(entry, verdict=verdict, causes=(*changed[name], *entry.causes))
        judged.append(entry)
    for name in sorted(given.keys() - point.keys()):
        text = "params has no array of this name"
        judged.append(_unjudged(name, given[name].shape, "extra", text))
    return Report(tuple(judged), " and ".join(sorted({n.method for n in numerics.values()})))


def _verdict(
    name: str,
    x: Array,
    yours: Array | None,
    probes: Probes,
    found: Numeric,
    rounding: float,
    least: float,
    names: tuple[str, ...],
    known: list[Constant],
) -> Parameter:
    if yours is None:
        return _unjudged(name, x.shape, "missing", "grads returns nothing of this name")
    if yours.dtype.kind not in "fiu":
        return _unjudged(name, x.shape, "not finite", f"yours is an array of {yours.dtype}")
    bad = np.argwhere(~np.isfinite(yours))
    if len(bad):
        at = f", the first at {bad[0].tolist()}" if yours.ndim else ""
        text = f"{len(bad)} of {yours.size} entries are NaN or infinite{at}"
        return _unjudged(name, x.shape, "not finite", text)
    precision = float(np.finfo(yours.dtype).eps) if yours.dtype.kind == "f" else EPS
    g, true = found.value, np.sum(found.value, axis=1)
    own = 6 * rounding + 32 * precision * _largest(yours)
    floor = np.sum(found.noise, axis=1) + own
    split = len(probes.entries)
    size = np.concatenate(
        [np.abs(true[:split]), np.full(len(true) - split, np.sum(true**2) ** 0.5)]
    )
    tolerance = np.where(found.kink, np.inf, floor + 1e-8 * size) + 1e-300  # (DR.1)
    if yours.shape != x.shape:
        fits = [
            cause
            for cause, candidate in reshaped(yours.astype(np.float64), x.shape)
            if np.all(np.abs(probes.project(candidate) - true) <= tolerance)
        ]
        verdict = fits[0].verdict if fits else "wrong shape"
        text = fits[0].text if fits else f"yours has shape {yours.shape} instead of {x.shape}"
        return _unjudged(name, x.shape, verdict, text)

    yours = yours.astype(np.float64)
    c = Comparison(probes.project(yours), g, tolerance)
    scale = max(_largest(true), _largest(yours), least) or 1.0
    error = np.where(found.kink, 0.0, np.abs(c.yours - true))
    hidden = not np.any(c.wrong[:split]) and bool(np.any(c.wrong))  # only a direction sees it
    coarse = float(np.max(np.where(found.kink, 0.0, floor), initial=0.0)) / scale
    worst = int(np.argmax(error[:split])) if split else 0
    shown = split > 0 and not hidden
    index = np.unravel_index(probes.entries[worst], x.shape) if shown else ()
    entry = Parameter(
        name=name or "params",
        shape=x.shape,
        verdict=AGREES,
        max_rel_error=_largest(error) / scale,
        floor=coarse,
        worst_index=tuple(int(i) for i in index),
        tested=split,
        yours=float(c.yours[worst]) if shown else math.nan,
        numeric=float(true[worst]) if shown else math.nan,
    )
    kinks = tuple(_kink_text(probes, found, x.shape))
    visible = 10 * coarse * scale if coarse > TOO_COARSE else 0.0
    if np.any(c.wrong & (error > visible)):
        causes = in_array(yours, x, probes, c, entry.name, names, known)
        verdict = causes[0].verdict if causes else "wrong"
        texts = tuple(cause.text for cause in causes) or (_plain(c, split, x.size),)
        return replace(entry, verdict=verdict, causes=texts + kinks)
    if kinks:
        return replace(entry, verdict=INCONCLUSIVE, causes=kinks)
    if not coarse <= TOO_COARSE:
        mend = "shrink the parameters, or compute the loss in float64"
        if own > 0.5 * coarse * scale:
            mend = "your gradient is rounded that coarsely; compute it in float64"
        text = f"cannot judge below {coarse:.0e} here: {mend}"
        return replace(entry, verdict=INCONCLUSIVE, causes=(text,))
    return entry


def _plain(c: Comparison, split: int, size: int) -> str:
    """Say what is wrong where no cause has a name."""
    wrong = int(np.sum(c.wrong[:split]))
    if not wrong:
        return f"the {split} entries tested agree, directions through all {size} do not"
    if size == 1:
        ratio = float(c.yours[0] / c.true[0]) if c.true[0] else math.inf
        return f"yours is {ratio:.6g} x the true gradient, which no product of sizes explains"
    cosine = float(c.yours @ c.true) / max(
        float(np.linalg.norm(c.yours) * np.linalg.norm(c.true)), 1e-300
    )
    near = _largest(c.yours - c.true) < 2e-3 * _largest(c.true)
    tail = "; nearly right: is something rounded or approximated?" if near else ""
    return f"{wrong} of {split} entries differ, by no simple rule (cosine {cosine:.6f}){tail}"


def _kink_text(probes: Probes, found: Numeric, shape: tuple[int, ...]) -> list[str]:
    at = np.flatnonzero(found.kink)
    if not len(at):
        return []
    split = len(probes.entries)
    where = "a random direction"
    if at[0] < split:
        where = str([int(i) for i in np.unravel_index(probes.entries[at[0]], shape)])
    return [
        f"the loss has a kink at these params ({len(at)} of {len(found.kink)} probes, first "
        f"{where}): its slopes differ on both sides, so it has no gradient; move the params"
    ]


def _unjudged(name: str, shape: tuple[int, ...], verdict: str, cause: str) -> Parameter:
    return Parameter(name or "params", shape, verdict, math.inf, math.inf, (), (cause,))


def _largest(a: Array) -> float:
    return float(np.max(np.abs(a), initial=0.0))
