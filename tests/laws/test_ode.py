"""Rules of Runge and Kutta, the probability flow and the density it carries, in exact worlds."""

from collections import Counter

import numpy as np
import pytest

from refgen import check
from refgen.exact import Mixture
from refgen.noise import Noise
from refgen.processes.path import VE, VP, CosinePath
from refgen.samplers.ode import TABLEAUX, solve, solve_with_density
from refgen.samplers.probability_flow import (
    ProbabilityFlow,
    log_density,
    sample_probability_flow,
)
from tests.laws.paths import PATHS, WORLD

RULES = sorted(TABLEAUX)
BLOBS = Mixture(np.array([0.3, 0.7]), np.array([[-1.0, 0.0], [1.0, 0.5]]), np.array([0.09, 0.05]))


def noise_of(world, path):
    """Return the exact noise prediction of a world on a path, with its pullback."""

    def predict(x, t):
        a, b, _, _ = path.levels(t)
        return world.noise_mean(x, a, b)

    def pullback(x, t):
        jacobian = np.stack(
            [
                check.complex_step(lambda y: predict(y, t), [x], [np.eye(2)[d] + 0 * x])
                for d in range(2)
            ],
            axis=-1,
        )  # (N, out, in)
        return predict(x, t), lambda e: np.einsum("noi,no->ni", jacobian, e)

    return predict, pullback


def swirl(x, t):
    """Return a velocity that depends on place and time: no rule is exact for it."""
    return np.stack([np.cos(3 * t) * x[:, 1], -x[:, 0] * (1 + t * t)], axis=1)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_converges_at_its_order(rule):
    x, sizes = Noise(0).normal((5, 2)), [16, 32, 64, 128]
    exact = solve(swirl, x, np.linspace(0, 1, 3001), rule="rk4")
    errors = [
        np.abs(solve(swirl, x, np.linspace(0, 1, n + 1), rule=rule) - exact).max() for n in sizes
    ]
    order = check.order_of_convergence(sizes, errors)
    assert order == pytest.approx(TABLEAUX[rule].order, abs=0.1)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_asks_for_as_many_slopes_as_it_says(rule):
    for steps in range(1, 12):
        calls = Counter()

        def counted(x, t, calls=calls):
            calls["v"] += 1
            return swirl(x, t)

        solve(counted, np.ones((1, 2)), np.linspace(1, 0, steps + 1), rule=rule)
        assert calls["v"] == steps * TABLEAUX[rule].calls


@pytest.mark.parametrize("rule", RULES)
def test_a_flow_followed_back_returns(rule):
    x, times = Noise(1).normal((5, 2)), np.linspace(0, 1, 200)
    there = solve(swirl, x, times, rule=rule)
    back = solve(swirl, there, times[::-1], rule=rule)
    gone = {"euler": 0.05, "midpoint": 1e-4, "heun": 1e-4, "rk4": 1e-8}[rule]
    assert np.abs(back - x).max() < gone


def flow_map(world, path, x, start, end):
    """Return where the flow of a Gaussian world carries x: its standardized place stays."""
    a, b, _, _ = path.levels(start)
    c, d, _, _ = path.levels(end)
    values, vectors = np.linalg.eigh(world.cov)
    y = (x - a * world.mean) @ vectors / np.sqrt(a * a * values + b * b)
    return c * world.mean + y * np.sqrt(c * c * values + d * d) @ vectors.T


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", PATHS)
def test_the_probability_flow_of_a_gaussian_is_found_at_the_rules_order(name, rule):
    path, sizes = PATHS[name], [64, 128, 256]
    start, end = (0.98, 0.05) if name == "cosine" else (1.0, 0.05)
    predict, _ = noise_of(WORLD, path)
    x = Noise(2).normal((7, 2)) * path.levels(start).b
    exact = flow_map(WORLD, path, x, start, end)
    walks = [np.linspace(start, end, n + 1) for n in sizes]
    found = [sample_probability_flow(predict, x, path, times=w, rule=rule) for w in walks]
    errors = [np.abs(y - exact).max() for y in found]
    order = check.order_of_convergence(sizes, errors)
    assert order > TABLEAUX[rule].order - 0.15


def test_the_density_carried_along_a_swirl_is_the_jacobians():
    """Log |det ∂x(1)/∂x(0)| = ∫ div v dt, with the determinant by a complex step."""

    class Swirl:
        def __call__(self, x, t):
            return np.stack(
                [np.cos(3 * t) * x[:, 1] * x[:, 0], -x[:, 0] * (1 + t * x[:, 1])], axis=1
            )

        def pullback(self, x, t):
            j = np.empty((len(x), 2, 2))
            j[:, 0, 0], j[:, 0, 1] = np.cos(3 * t) * x[:, 1], np.cos(3 * t) * x[:, 0]
            j[:, 1, 0], j[:, 1, 1] = -(1 + t * x[:, 1]), -t * x[:, 0]
            return self(x, t), lambda e: np.einsum("noi,no->ni", j, e)

    x, times, field = 0.5 * Noise(3).normal((4, 2)), np.linspace(0, 1, 65), Swirl()
    y, found = solve_with_density(field, x, times)
    columns = [
        check.complex_step(
            lambda z: solve(field, z, times, rule="rk4"), [x], [np.eye(2)[d] + 0 * x]
        )
        for d in range(2)
    ]
    exact = np.log(np.abs(np.linalg.det(np.stack(columns, axis=-1))))
    np.testing.assert_allclose(found, exact, atol=1e-7)
    np.testing.assert_allclose(y, solve(field, x, times, rule="rk4"))


@pytest.mark.parametrize(("name", "world"), [("vp", WORLD), ("vp", BLOBS), ("ve", BLOBS)])
def test_the_density_of_data_is_found_along_the_flow(name, world):
    """PF.2 with exact noise: log p of the data, but for what is left at the list's two ends."""
    path = {"vp": VP(), "ve": VE(0.01, 60.0)}[name]
    predict, pullback = noise_of(world, path)
    x = world.sample(6, Noise(4))
    first = 1e-3
    times = first + (1 - first) * np.linspace(0, 1, 161) ** (2 if name == "vp" else 1)
    found = log_density(ProbabilityFlow(path, predict, pullback), x, times=times)
    a, b, _, _ = path.levels(first)
    np.testing.assert_allclose(found, world.log_density(x, a, b), atol=0.03)


def test_the_estimate_of_a_trace_is_right_on_average_and_exact_for_a_diagonal():
    path = VP()
    predict, pullback = noise_of(WORLD, path)
    flow, x = ProbabilityFlow(path, predict, pullback), Noise(5).normal((1, 2))
    times = np.linspace(0.1, 1.0, 9)
    _, exact = solve_with_density(flow, x, times)
    many = np.repeat(x, 4000, axis=0)
    _, drawn = solve_with_density(flow, many, times, noise=Noise(6))
    error = drawn.std() / np.sqrt(len(many))
    assert error > 0
    assert abs(drawn.mean() - exact[0]) < 4 * error


def test_what_cannot_be_done_is_refused():
    with pytest.raises(ValueError, match="unknown rule 'rk5'"):
        solve(swirl, np.ones((1, 2)), [0.0, 1.0], rule="rk5")
    with pytest.raises(ValueError, match="two times at least"):
        solve(swirl, np.ones((1, 2)), [0.0])
    flow = ProbabilityFlow(VP(), lambda x, t: x)
    with pytest.raises(ValueError, match="noise_pullback"):
        log_density(flow, np.ones((1, 2)), times=[0.1, 1.0])


def test_a_flow_is_not_followed_where_it_is_infinitely_fast():
    """At a = 0 it begins nowhere; into b = 0 on VP Euler asks for no slope, and Heun for one."""
    predict, _ = noise_of(WORLD, CosinePath())
    with pytest.raises(ValueError, match=r"at t = 1\.0 the signal is 0, the noise 1"):
        sample_probability_flow(predict, np.ones((1, 2)), CosinePath(), times=[1.0, 0.5])
    predict, _ = noise_of(WORLD, VP())
    with pytest.raises(ValueError, match=r"at t = 0\.0 the signal is 1, the noise 0"):
        sample_probability_flow(predict, np.ones((1, 2)), VP(), times=[1.0, 0.0])
    euler = sample_probability_flow(predict, np.ones((1, 2)), VP(), times=[1.0, 0.0], rule="euler")
    assert np.isfinite(euler).all()
