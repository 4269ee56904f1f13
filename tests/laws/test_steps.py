"""Laws of one step: what guidance means, how fast a solver converges, where Langevin settles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, ops
from refgen.noise import Noise

pytestmark = pytest.mark.tiny
DDPM = {"alpha": 0.9, "alpha_bar": 0.4, "sigma": 0.3}
DDIM = {"alpha_bar": 0.4, "alpha_bar_next": 0.7, "sigma": 0.2}
each_step = pytest.mark.parametrize(("name", "static"), [("ddpm_step", DDPM), ("ddim_step", DDIM)])


def answers(seed=0):
    """Return x, the answer with the label, the answer without, and a draw."""
    return Noise(seed).at("steps").normal((4, 5, 3), dtype=np.float64)


def guided(name, arrays, guidance, static):
    return getattr(ops, f"guided_{name}_forward")(*arrays, guidance=guidance, **static)[0]


def plain(name, x, noise_hat, noise, static):
    return getattr(ops, f"{name}_forward")(x, noise_hat, noise, **static)[0]


@each_step
def test_guidance_0_forgets_the_label_and_1_believes_the_network(name, static):
    """Bit for bit: what is not asked for has weight 0."""
    x, with_label, without, noise = arrays = answers()
    for guidance, answer in ((0.0, without), (1.0, with_label)):
        step = guided(name, arrays, guidance, static)
        assert np.array_equal(step, plain(name, x, answer, noise, static))


@each_step
@given(guidance=st.floats(-2, 20))
def test_a_guided_step_is_the_step_along_the_guided_answer(name, static, guidance):
    """In the three spellings of the lectures; w of the first is one less than γ."""
    x, with_label, without, noise = arrays = answers()
    step, w = guided(name, arrays, guidance, static), guidance - 1
    for along in (
        (1 + w) * with_label - w * without,
        guidance * with_label + (1 - guidance) * without,
        without + guidance * (with_label - without),
    ):
        np.testing.assert_allclose(step, plain(name, x, along, noise, static), atol=1e-12)


@each_step
def test_two_equal_answers_need_no_guidance(name, static):
    x, answer, _, noise = answers()
    for guidance in (0.0, 3.0, 20.0):
        step = guided(name, (x, answer, answer, noise), guidance, static)
        np.testing.assert_allclose(step, plain(name, x, answer, noise, static), atol=1e-13)


@each_step
def test_a_guided_draw_is_the_guided_step_with_that_noise(name, static):
    x, with_label, without, _ = answers()
    stream = (1, 2, 3, 4)
    noise = ops.normals(stream, 7, x.size).reshape(x.shape).astype(x.dtype)
    drawn = getattr(ops, f"guided_{name}_drawn")(
        x, with_label, without, stream, 7, guidance=2.5, **static
    )
    assert np.array_equal(drawn, guided(name, (x, with_label, without, noise), 2.5, static))


def test_a_guided_step_refuses_the_sigma_that_the_plain_one_refuses():
    with pytest.raises(ValueError, match="lower eta"):
        guided("ddim_step", answers(), 2.0, {**DDIM, "sigma": 0.9})


# Solvers.

SPIN = np.array([[-0.5, -2.0], [2.0, -0.5]])  # dx/dt = SPIN x: a spiral into 0


def spiral(x, dt):
    """Return where the flow of SPIN has x after dt: it turns and shrinks."""
    turn = np.array([[np.cos(2 * dt), -np.sin(2 * dt)], [np.sin(2 * dt), np.cos(2 * dt)]])
    return np.exp(-0.5 * dt) * x @ turn.T


def velocity(x):
    return x @ SPIN.T


def euler(x, dt):
    return ops.euler_step_forward(x, velocity(x), dt=dt)[0]


def heun(x, dt):
    return ops.heun_step_forward(x, velocity(x), velocity(euler(x, dt)), dt=dt)[0]


def midpoint(x, dt):
    return ops.euler_step_forward(x, velocity(euler(x, dt / 2)), dt=dt)[0]


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2), (midpoint, 2)])
def test_a_solver_converges_at_its_order(solver, order, direction):
    """Forwards in time and backwards."""
    start, errors, counts = np.array([[1.0, 0.5]]), [], [100, 200, 400]
    for count in counts:
        x = start
        for _ in range(count):
            x = solver(x, direction / count)
        errors.append(np.abs(x - spiral(start, direction)).max())
    assert check.order_of_convergence(counts, errors) == pytest.approx(order, abs=0.05)


def test_heun_and_midpoint_are_one_rule_where_the_velocity_is_linear():
    x = np.random.default_rng(0).normal(size=(3, 2))
    np.testing.assert_allclose(heun(x, 0.3), midpoint(x, 0.3), rtol=1e-13)


def langevin(x, noise, std, step):
    """Step towards N(0, std²)."""
    return ops.langevin_step_forward(x, -x / std**2, noise, step=step)[0]


@pytest.mark.parametrize(("std", "step"), [(1.0, 0.01), (1.0, 0.5), (0.5, 0.2), (3.0, 2.0)])
def test_langevin_settles_at_the_variance_of_its_finite_step(std, step):
    """Over x = ±a, z = ±1 a step takes a variance to a variance, exactly: no sampling error."""
    x, z = np.array([[-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])
    settled = std**2 / (1 - step / (2 * std**2))
    np.testing.assert_allclose(np.var(langevin(np.sqrt(settled) * x, z, std, step)), settled)
    var = 0.0
    for _ in range(3000):
        var = np.var(langevin(np.sqrt(var) * x, z, std, step))
    assert var == pytest.approx(settled, rel=1e-9)
    assert settled > std**2


def test_langevin_leaves_a_small_step_nothing_to_correct():
    """The first-order change of the density is zero: drift and noise cancel as τ → 0."""
    x, z = np.array([[-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])
    moved = [np.var(langevin(0.7 * x, z, 0.7, step)) - 0.49 for step in (1e-3, 1e-4)]
    assert moved[0] / moved[1] == pytest.approx(100, rel=1e-6)


def test_langevin_drawn_is_langevin_with_that_noise():
    x, score = answers()[:2]
    noise = ops.normals((1, 2, 3, 4), 7, x.size).reshape(x.shape).astype(x.dtype)
    drawn = ops.langevin_step_drawn(x, score, (1, 2, 3, 4), 7, step=0.2)
    assert np.array_equal(drawn, ops.langevin_step_forward(x, score, noise, step=0.2)[0])


def test_langevin_refuses_a_step_down():
    with pytest.raises(ValueError, match="0 or more"):
        langevin(np.ones(1), np.ones(1), 1.0, -0.1)
