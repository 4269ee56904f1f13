r"""What an error weighs in a loss: one definition, and what it comes to in every parametrization.

Shapes     levels, weights : floats, or (N,), one for each example    T : steps of a schedule
Sources    ho2020-ddpm  eq. 12, 14 (elbo, simple);  kingma2021-vdm  sections 4, 5 (elbo);
           salimans2022-distillation  section 4 (truncated, SNR + 1);  choi2022-p2  (p2);
           hang2023-min-snr  (min-snr);  kingma2023-understanding  (all of them as one)

A weight is the w on the error of the noise, and everything else follows:

    loss = w ‖ε̂ − noise‖²                                                                (WE.1)

At given x = a data + b noise the errors of all predictions are one error in different units:
ŷ − y = Δ τ, with Δ the kind's area (PA.8) of parametrization.py, and the same τ for all by (PA.9).
The noise has Δ = a, so in any kind

    loss = W ‖τ‖² = w_kind ‖ŷ − y‖²,   W = a² w,   w_kind = W / Δ²                       (WE.2)

A loss so weighted is one function of the network's parameters, whatever the network says: not the
minimum alone is the same, so is every gradient. W has no pole where a = 0, as w may have; where
a² + b² = 1 it is the weight on the error of v. With SNR = a²/b² = e^λ:

    name        W                       w on the noise      w on the data
    simple      a²                      1                   SNR                          (WE.3)
    data        b²                      1/SNR               1                            (WE.4)
    v           a² + b²                 1 + 1/SNR           SNR + 1                      (WE.5)
    truncated   max(a², b²)             max(1, 1/SNR)       max(SNR, 1)                  (WE.6)
    min-snr     min(a², γ b²)           min(1, γ/SNR)       min(SNR, γ)                  (WE.7)
    p2          a² (k + SNR)^−γ         (k + SNR)^−γ        SNR (k + SNR)^−γ             (WE.8)
    elbo        ½ a² |λ'| = a Δ_velocity / b                                             (WE.9)

elbo is what the bound has of the network, in nats, for t uniform in [0, 1]; it is the limit of T
steps. The term of a step, from t down to s, is the KL of two Gaussians whose means are apart,
½ ‖mean error‖² / σ² and a constant; T makes the mean over steps a sum. The model's σ² is v of
discrete.py's (PD.5), or w of its (PD.6), which are the lectures' β_t and β̃_t:

    elbo of a step   W = T Δ_mean² / 2σ²                                                 (WE.10)
    σ² = v,  or  v b_s²/b²                                                               (WE.11)

With the second, the true posterior's, w = ½ T (e^(λ_s − λ) − 1), which tends to ½ |λ'|; it does not
exist for the step to s = 0, where the posterior has no variance. With s = t − 1 and the σ_t² of
either, w/T is the lectures' weight (1 − α_t)² / (2 σ_t² α_t (1 − ᾱ_t)) of the noise's error.
"""

from collections.abc import Callable

import numpy as np

from refgen.processes.discrete import of_schedule, posterior, transition
from refgen.processes.parametrization import anywhere, area
from refgen.processes.path import Levels, Time
from refgen.processes.schedule import Schedule
from refgen.typing import Array

VARIANCES = ("beta", "posterior")


def simple(levels: Levels) -> Time:
    """Return W: every error of the noise weighs 1."""
    return levels.a**2  # (WE.3)


def on_data(levels: Levels) -> Time:
    """Return W: every error of the data weighs 1."""
    return levels.b**2  # (WE.4)


def on_v(levels: Levels) -> Time:
    """Return W: every error of v weighs 1, where a² + b² = 1; also known as SNR + 1."""
    return levels.a**2 + levels.b**2  # (WE.5)


def truncated(levels: Levels) -> Time:
    """Return W: errors of the data weigh as in simple, but no less than 1."""
    return np.maximum(levels.a**2, levels.b**2)  # (WE.6)


def min_snr(levels: Levels, *, gamma: float = 5.0) -> Time:
    """Return W: errors of the data weigh as in simple, but no more than gamma > 0."""
    if not gamma > 0:
        raise ValueError(f"min-snr: gamma is a positive signal-to-noise ratio, not {gamma}")
    return np.minimum(levels.a**2, gamma * levels.b**2)  # (WE.7)


def p2(levels: Levels, *, gamma: float = 1.0, k: float = 1.0) -> Time:
    """Return W: errors where little is left to see weigh less; gamma = 0 is simple."""
    if not (gamma >= 0 and k > 0):
        raise ValueError(f"p2: gamma is 0 or more and k positive, not {gamma} and {k}")
    a2, b2 = levels.a**2, levels.b**2
    return a2 * b2**gamma / (k * b2 + a2) ** gamma  # (WE.8)


def elbo(levels: Levels) -> Time:
    """Return W: the bound in nats, t uniform in [0, 1]. Infinite, or refused, where b = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return levels.a * np.divide(area("velocity", levels), levels.b)  # (WE.9)


WEIGHTS: dict[str, Callable[..., Time]] = {
    "simple": simple,
    "data": on_data,
    "v": on_v,
    "truncated": truncated,
    "min-snr": min_snr,
    "p2": p2,
    "elbo": elbo,
}


def elbo_of_step(
    levels: Levels, earlier: Levels, *, variance: str = "beta", steps: int = 1
) -> Time:
    """Return W of the bound's term for one of so many steps, in nats.

    variance is the model's: "beta", v of the step, or "posterior". Raises ValueError for another,
    and for the posterior's where it is 0.
    """
    if variance not in VARIANCES:
        raise ValueError(f"unknown variance {variance!r}; there are {', '.join(VARIANCES)}")
    if variance == "beta":
        var = transition(levels, earlier).var
    else:
        var = posterior(levels, earlier).var  # (WE.11)
        if anywhere(var == 0):
            raise ValueError("the posterior has no variance in the step to t = 0: use beta there")
    return steps * area("mean", levels, earlier) ** 2 / (2 * var)  # (WE.10)


def in_kind(W: Time, kind: str, levels: Levels, *, earlier: Levels | None = None) -> Time:
    """Return the weight on the error of a kind of prediction, from a W of this page.

    Raises ValueError where the kind says nothing about the data: no weight makes up for that.
    """
    known = area(kind, levels, earlier)
    if anywhere(known == 0):
        raise ValueError(
            f"{kind} says nothing that x does not where a = 0 or b = 0: no weight on its error is "
            "this loss; predict v there"
        )
    return W / known**2  # (WE.2)


def loss_weight(
    name: str, kind: str, levels: Levels, *, earlier: Levels | None = None, **settings: float
) -> Time:
    """Return the weight of a name on the error of a kind of prediction; (WE.1) has "noise".

    Raises ValueError for an unknown name, and as in_kind does.

    >>> at = Levels(0.8, 0.6, 0.0, 0.0)  # SNR 16/9
    >>> [round(float(loss_weight("min-snr", k, at, gamma=1.5)), 12) for k in ("noise", "data", "v")]
    [0.84375, 1.5, 0.54]
    """
    if name not in WEIGHTS:
        raise ValueError(f"unknown loss weight {name!r}; there are {', '.join(WEIGHTS)}")
    return in_kind(WEIGHTS[name](levels, **settings), kind, levels, earlier=earlier)  # (WE.1)


def schedule_weights(
    name: str, kind: str, schedule: Schedule, *, variance: str = "beta", **settings: float
) -> Array:
    """Return the weights of t = 0 .. T, (T + 1,) float64; 0 at t = 0, which is the data.

    variance is the model's and concerns "elbo" alone. Raises ValueError as loss_weight and
    elbo_of_step do.
    """
    path, t = of_schedule(schedule), np.arange(1, schedule.T + 1)
    levels, earlier = path.levels(t), path.levels(t - 1)
    if name == "elbo":
        W = elbo_of_step(levels, earlier, variance=variance, steps=schedule.T)
        found = in_kind(W, kind, levels, earlier=earlier)
    else:
        found = loss_weight(name, kind, levels, earlier=earlier, **settings)
    return np.concatenate([[0.0], np.broadcast_to(found, t.shape)])
