r"""Claims on policies: what a goal adds, what one Gaussian makes of two ways, what errors cost.

Sources    ross2010-reductions  theorem 2.1;  ding2019-goal-imitation;  bishop2006-prml  1.2.5

Truths are complex steps of a log-likelihood, which must vanish at its maximum, Gauss-Hermite
averages, and probabilities carried from state to state.
"""

import numpy as np

from refgen import ops
from refgen.check import complex_step
from refgen.claims.claim import Claim, Form
from refgen.claims.imitation import FAMILY, SLIDE
from refgen.claims.residual import gap, largest
from refgen.exact.tightrope import Tightrope, worst
from refgen.models.policy import CategoricalPolicy
from refgen.noise import Noise
from refgen.typing import Array

ROUNDING = 1e-9


def _goal_conditioned(form: Form, noise: Noise) -> float:
    """Shake the logits of a table of policies, one for each state and goal."""
    counts = 1.0 + noise.integers(9, (2, 3, 4))  # of each action in each state, for each goal
    p = np.reshape(form(counts), (6, 4))
    flat = np.reshape(counts, (6, 4))

    def likelihood(a: Array) -> Array:
        return np.asarray(np.sum(flat * (a - np.log(np.sum(np.exp(a), axis=1, keepdims=True)))))

    slopes = [complex_step(likelihood, [np.log(p)], [np.reshape(e, (6, 4))]) for e in np.eye(24)]
    return largest(float(np.max(np.abs(slopes))), gap(np.sum(p, axis=1), np.ones(6)))


def _cells(form: Form, noise: Noise) -> float:
    """Find the cell of each action by trying them all, and its density by adding up."""
    policy = CategoricalPolicy(1, 2, bins=5, limit=1.5, depth=0)
    action = 3.2 * (noise.at("action").uniform((40, 2)) - 0.5)  # some beyond the limit
    edges = np.linspace(-1.5, 1.5, 6)
    cell = []
    for a in np.clip(action, -1.4999, 1.4999):
        i, j = (next(k for k in range(5) if x < edges[k + 1]) for x in a)
        cell.append(i + 5 * j)
    logits = noise.at("logits").normal((1, 25))
    p = np.exp(logits[0]) / np.sum(np.exp(logits[0]))
    params = {"logits": {"dense0": {"w": np.zeros((1, 25)), "b": logits[0]}}}
    loss = form(policy, params, np.zeros((40, 1)), action)
    return gap(loss, -np.log(p[cell] / 0.6**2))


def _two_ways(form: Form, noise: Noise) -> float:
    """Fit one Gaussian to two: the slopes of its expected −log p must vanish."""
    means, std = noise.at("means").normal((2, 1)) * 2.0, 0.3 + noise.at("std").uniform(2)
    weight = 0.3 + 0.4 * float(noise.at("weight").uniform(1)[0])
    weights = np.array([weight, 1 - weight])
    mean, var = form(weights, means[:, 0], std)
    nodes, mass = np.polynomial.hermite_e.hermegauss(8)
    x = np.concatenate([m + s * nodes for m, s in zip(means[:, 0], std, strict=True)])
    share = np.concatenate([w * mass / np.sum(mass) for w in weights])

    def expected(m: Array, logvar: Array) -> Array:
        nll, _ = ops.gaussian_nll_forward(x[:, None], np.ones((16, 1)) * m, logvar)
        return np.asarray(np.sum(share * nll))

    at = [np.array([mean]), np.log(np.array([var]))]
    along = [np.ones(1), np.zeros(1)]
    first = complex_step(expected, at, along)
    second = complex_step(expected, at, along[::-1])
    return largest(abs(float(first)), abs(float(second)))


def _moments(
    within: float = 1.0, between: float = 1.0, power: int = 2, nearest: bool = False
) -> Form:
    def form(weights: Array, means: Array, std: Array) -> tuple[float, float]:
        mean = float(means[np.argmax(weights)]) if nearest else float(weights @ means)
        var = within * std**power + between * (means - mean) ** 2
        return mean, float(weights @ var)

    return form


def _recovery(form: Form, noise: Noise) -> float:
    gaps = []
    for case in range(4):
        e, r = (0.02 + 0.4 * float(u) for u in noise.at("case", case).uniform(2))
        steps = 3 + int(noise.at("steps", case).integers(60, 1)[0])
        on, cost = 1.0, 0.0
        for _ in range(steps):
            on = on * (1 - e) + (1 - on) * r
            cost += 1 - on
        gaps.append(abs(float(form(e, r, steps)) / cost - 1))
    return largest(*gaps)


def _no_worse(form: Form, noise: Noise) -> float:
    """Return by how much a random world, or the one that is never left, is beyond a bound."""
    beyond = []
    for case in range(6):
        here = noise.at("world", case)
        error = 0.01 + 0.2 * float(here.at("error").uniform(1)[0])
        steps, bound = 40, form(error, 40)
        moves = -np.log(here.at("moves").uniform((5, 3, 5)))
        moves[:3, 0, 3:] = 0.0  # doing as shown, one stays among what was shown
        moves /= np.sum(moves, axis=2, keepdims=True)
        policy = here.at("policy").uniform((5, 3)) * np.array([0.05, 1.0, 1.0])
        policy /= np.sum(policy, axis=1, keepdims=True)
        policy[:3] = np.array([1 - error, error / 2, error / 2])
        d, cost = np.eye(5)[0], 0.0
        for _ in range(steps):
            cost += float(d @ (1 - policy[:, 0]))
            d = np.einsum("s,sa,sap->p", d, policy, moves)
        never = sum(1 - (1 - error) ** t for t in range(1, steps + 1))
        beyond += [max(0.0, cost / bound - 1) if np.isfinite(cost / bound) else np.nan]
        beyond += [abs(never / bound - 1)]
    return largest(*beyond)


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="il.goal_conditioned",
        statement=r"\max_\theta\mathbb E\log\pi_\theta(a\mid s,g):"
        r"\quad\pi^*(a\mid s,g)=\frac{n(s,g,a)}{\sum_{a'}n(s,g,a')}",
        family=FAMILY,
        sources=(SLIDE, "ding2019-goal-imitation"),
        right=lambda n: n / np.sum(n, axis=2, keepdims=True),
        wrong={
            "deaf to the goal": lambda n: (
                np.ones((1, 3, 1))
                * np.sum(n, axis=1, keepdims=True)
                / np.sum(n, axis=(1, 2))[:, None, None]
            ),
            "blind to the state": lambda n: (
                np.ones((2, 1, 1)) * np.sum(n, axis=0) / np.sum(n, axis=(0, 2))[None, :, None]
            ),
            "the goal that an action leads to": lambda n: n / np.sum(n, axis=1, keepdims=True),
        },
        check=_goal_conditioned,
        tolerance=ROUNDING,
    ),
    Claim(
        id="il.categorical_density",
        statement=r"\pi(a\mid c)=\mathrm{softmax}(f(c))_k\,w^{-A},"
        r"\quad k=\sum_dB^d\lfloor(a_d+L)/w\rfloor,\ w=2L/B",
        family=FAMILY,
        sources=(SLIDE, "bishop2006-prml"),
        right=lambda policy, params, c, a: policy.forward(params, c, a)[0],
        wrong={
            "the nearest edge": lambda policy, params, c, a: policy.forward(
                params, c, a + 0.5 * policy.width
            )[0],
            "coordinates exchanged": lambda policy, params, c, a: policy.forward(
                params, c, a[:, ::-1]
            )[0],
            "no width": lambda policy, params, c, a: (
                policy.forward(params, c, a)[0] - 2 * np.log(policy.width)
            ),
        },
        check=_cells,
        tolerance=ROUNDING,
    ),
    Claim(
        id="il.gaussian_averages",
        statement=r"\max_{m,v}\mathbb E_{\sum_kw_k\mathcal N(m_k,s_k^2)}\log\mathcal N(a;m,v):"
        r"\quad m=\sum_kw_km_k,\ v=\sum_kw_k\bigl(s_k^2+(m_k-m)^2\bigr)",
        family=FAMILY,
        sources=(SLIDE, "bishop2006-prml"),
        right=_moments(),
        wrong={
            "the likelier way": _moments(nearest=True),
            "the spread within a way": _moments(between=0.0),
            "the distance of the ways alone": _moments(within=0.0),
            "std for var": _moments(power=1),
        },
        check=_two_ways,
        tolerance=ROUNDING,
    ),
    Claim(
        id="il.recovery",
        statement=r"J_T=\frac{\varepsilon}{\varepsilon+r}\Bigl(T-\lambda\frac{1-\lambda^T}"
        r"{\varepsilon+r}\Bigr),\quad\lambda=1-\varepsilon-r",
        family=FAMILY,
        sources=(SLIDE, "ross2010-reductions"),
        right=lambda e, r, steps: Tightrope(e, r).cost(steps),
        wrong={
            "never mended": lambda e, r, steps: Tightrope(e, 0.0).cost(steps),
            "independent errors": lambda e, r, steps: e * steps,
            "as if long on the way": lambda e, r, steps: e / (e + r) * steps,
            "one step late": lambda e, r, steps: Tightrope(e, r).cost(steps - 1),
        },
        check=_recovery,
        tolerance=ROUNDING,
    ),
    Claim(
        id="il.no_world_is_worse",
        statement=r"J_T\le\sum_{t\le T}\bigl(1-(1-\varepsilon)^t\bigr)"
        r"=T-(1-\varepsilon)\frac{1-(1-\varepsilon)^T}{\varepsilon}",
        family=FAMILY,
        sources=(SLIDE, "ross2010-reductions"),
        right=worst,
        wrong={
            "errors add up": lambda error, steps: error * steps,
            "half the square of T": lambda error, steps: 0.5 * error * steps**2,
            "counted from the step after": lambda error, steps: worst(error, steps - 1),
        },
        check=_no_worse,
        tolerance=ROUNDING,
    ),
)
