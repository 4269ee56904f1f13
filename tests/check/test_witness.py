"""Each witness holds where it should, and catches the case it is there for."""

import numpy as np
import pytest

from refgen.check import (
    adjoint_gap,
    central_difference,
    complex_step,
    jacobian,
    logdet_gap,
    order_of_convergence,
)

pytestmark = pytest.mark.tiny


def f(x, w):
    return np.tanh(x @ w) * np.exp(-0.1 * x[:, :1])


def draw(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s) for s in ((5, 3), (3, 2))], [
        rng.normal(size=s) for s in ((5, 3), (3, 2))
    ]


def along(args, tangents):
    """Return the derivative of f along the tangents, by hand."""
    (x, w), (dx, dw) = args, tangents
    y, damp = np.tanh(x @ w), np.exp(-0.1 * x[:, :1])
    return damp * ((1 - y * y) * (dx @ w + x @ dw) - 0.1 * dx[:, :1] * y)


def test_the_complex_step_is_exact_to_rounding():
    for seed in range(50):
        args, tangents = draw(seed)
        assert np.allclose(complex_step(f, args, tangents), along(args, tangents), 1e-13, 1e-14)


def test_the_complex_step_catches_an_error_of_one_part_in_a_billion():
    args, tangents = draw(0)
    wrong = along(args, tangents) * (1 + 1e-9)
    assert not np.allclose(complex_step(f, args, tangents), wrong, 1e-12, 1e-14)


def test_the_complex_step_misses_what_is_not_analytic():
    x, t = np.array([1.0, -2.0]), np.ones(2)
    assert np.all(complex_step(np.abs, [x], [t]) == 0)  # the true derivative is ±1


def test_the_noise_of_a_central_difference_bounds_its_error():
    for seed in range(200):
        args, tangents = draw(seed)
        scale = 10 ** np.random.default_rng(seed).uniform(-1, 1)
        tangents = [scale * t for t in tangents]
        found = central_difference(f, args, tangents)
        assert np.all(np.abs(found.value - along(args, tangents)) <= found.noise)
    assert np.max(found.noise) < 1e-4  # and it is not a bound by being vast


def test_a_kink_near_the_point_shows_as_noise():
    for distance in (1e-4, 3e-4, -2e-4, 7e-4):
        found = central_difference(np.abs, [np.array(distance)], [np.array(1.0)])
        assert abs(found.value - np.sign(distance)) > 1e-3
        assert found.noise > 0.01


def test_cancellation_shows_as_noise():
    large = central_difference(lambda x: 1e9 + np.sin(x), [np.array(0.3)], [np.array(1.0)])
    assert abs(large.value - np.cos(0.3)) <= large.noise
    assert large.noise > 1e-4


def matrices():
    rng = np.random.default_rng(1)
    x, w, dy, t, u = (rng.normal(size=s) for s in ((5, 3), (3, 2), (5, 2), (5, 3), (3, 2)))
    return x, w, dy, [t, u], t @ w + x @ u


def test_the_adjoint_gap_of_a_pair_of_adjoints_is_rounding():
    x, w, dy, tangents, out = matrices()
    assert adjoint_gap(tangents, [dy @ w.T, x.T @ dy], [dy], [out]) < 1e-15


@pytest.mark.parametrize("slip", [1 + 1e-9, -1.0, 0.0, 2.0])
def test_the_adjoint_gap_catches_a_wrong_adjoint(slip):
    x, w, dy, tangents, out = matrices()
    assert adjoint_gap(tangents, [dy @ w.T, slip * x.T @ dy], [dy], [out]) > 1e-12


def test_the_jacobian_has_outputs_as_rows():
    a = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(jacobian(lambda x: a @ x, np.ones(3)), a)


def coupling(x):
    return np.concatenate([x[:2], x[2:] * np.exp(np.sin(x[:2])) + x[:2]])


def test_the_logdet_gap_of_a_coupling_is_rounding_and_catches_a_wrong_one():
    x = np.array([0.3, -1.0, 2.0, 0.7])
    right = np.sum(np.sin(x[:2]))
    assert logdet_gap(coupling, right, x) < 1e-14
    assert logdet_gap(coupling, -right, x) > 0.1  # the inverse's
    assert logdet_gap(coupling, np.sum(np.exp(np.sin(x[:2]))), x) > 0.1  # the exponential left in
    assert logdet_gap(coupling, right + 1e-9, x) > 1e-12


def errors(rule, steps):
    """Return the errors at t = 1 of x' = -x, x(0) = 1."""
    out = []
    for n in steps:
        x, h = 1.0, 1 / n
        for _ in range(n):
            x = rule(x, h)
        out.append(abs(x - np.exp(-1)))
    return out


def test_the_order_of_convergence_tells_euler_from_heun():
    steps = (32, 64, 128, 256)
    euler = order_of_convergence(steps, errors(lambda x, h: x - h * x, steps))
    heun = order_of_convergence(steps, errors(lambda x, h: x - h * x + 0.5 * h * h * x, steps))
    slip = order_of_convergence(steps, errors(lambda x, h: x - h * x + h * h * x, steps))
    assert abs(euler - 1) < 0.02
    assert abs(heun - 2) < 0.02
    assert abs(slip - 1) < 0.05  # a second-order rule with its half forgotten


def test_a_gradient_of_another_shape_does_not_pass_by_broadcasting():
    """What forgot its sum over the batch has the right numbers in the wrong places."""
    t, dy = np.ones(3), np.ones((4, 3))
    assert adjoint_gap([t], [4 * t], [dy], [dy]) == 0
    with pytest.raises(ValueError, match=r"input 0 has shape \(4, 3\), not \(3,\)"):
        adjoint_gap([t], [dy], [dy], [dy])
