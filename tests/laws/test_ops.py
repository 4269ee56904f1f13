"""Laws of the ops: what each formula means, checked without its gradient."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from refgen import check, ops

pytestmark = pytest.mark.tiny
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
X = np.linspace(-30, 30, 601)


def test_a_dense_layer_is_affine():
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(3, 2)), rng.normal(size=2)
    x, y = rng.normal(size=(2, 4, 5, 3))
    at = [ops.dense_forward(v, w, b)[0] for v in (x, y, 0.3 * x + 0.7 * y)]
    np.testing.assert_allclose(0.3 * at[0] + 0.7 * at[1], at[2], atol=1e-14)
    np.testing.assert_allclose(ops.dense_forward(0 * x, w, b)[0], np.broadcast_to(b, (4, 5, 2)))


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "softplus"])
def test_a_rectifier_splits_the_identity(name):
    """f(x) − f(−x) = x: what one side lets through the other holds back."""
    f = getattr(ops, f"{name}_forward")
    np.testing.assert_allclose(f(X)[0] - f(-X)[0], X, atol=1e-13)


def test_activations_take_their_textbook_values():
    one = np.array([1.0])
    assert ops.sigmoid_forward(one)[0] == pytest.approx(1 / (1 + np.exp(-1)), rel=1e-15)
    assert ops.gelu_forward(one)[0] == pytest.approx(stats.norm.cdf(1), rel=1e-15)
    assert ops.softplus_forward(0 * one)[0] == pytest.approx(np.log(2), rel=1e-15)
    assert ops.leaky_relu_forward(-one, slope=0.2)[0] == pytest.approx(-0.2)
    assert ops.silu_forward(one)[0] == pytest.approx(1 / (1 + np.exp(-1)), rel=1e-15)
    np.testing.assert_allclose(ops.sigmoid(X) + ops.sigmoid(-X), 1, atol=1e-15)
    far = np.array([-40.0, -700.0])  # small values keep their digits
    np.testing.assert_allclose(ops.sigmoid(far), np.exp(far), rtol=1e-15)
    np.testing.assert_allclose(ops.tanh_forward(X)[0], 2 * ops.sigmoid(2 * X) - 1, atol=1e-15)


def test_activations_never_overflow():
    far = np.array([-1e4, 1e4])
    for name in ("relu", "leaky_relu", "sigmoid", "tanh", "silu", "softplus", "gelu"):
        y, cache = getattr(ops, f"{name}_forward")(far)
        assert np.isfinite(y).all()
        assert np.isfinite(getattr(ops, f"{name}_backward")(np.ones(2), cache)).all()


def test_reparameterised_draws_have_the_variance_they_claim():
    """With noise = ±1 the sample variance is σ² exactly, so a std/variance slip cannot hide."""
    logvar = np.log([[0.25, 4.0]])
    up, _ = ops.reparameterize_forward(np.zeros((1, 2)), logvar, np.ones((1, 2)))
    down, _ = ops.reparameterize_forward(np.zeros((1, 2)), logvar, -np.ones((1, 2)))
    np.testing.assert_allclose(((up - down) / 2) ** 2, np.exp(logvar), rtol=1e-15)


@given(mu=st.floats(-3, 3), logvar=st.floats(-3, 2))
def test_the_kl_is_the_mean_log_ratio_of_its_two_densities(mu, logvar):
    z = mu + np.exp(0.5 * logvar) * NODES
    ratio = stats.norm.logpdf(z, mu, np.exp(0.5 * logvar)) - stats.norm.logpdf(z)
    kl, _ = ops.gaussian_kl_forward(np.array([[mu]]), np.array([[logvar]]))
    assert kl[0] == pytest.approx(np.sum(WEIGHTS * ratio), abs=1e-10)
    assert kl[0] >= -1e-15


def test_the_kl_of_the_prior_to_itself_is_zero():
    assert ops.gaussian_kl_forward(np.zeros((2, 3)), np.zeros((2, 3)))[0].tolist() == [0.0, 0.0]


def test_one_pass_gives_what_two_passes_give():
    rng = np.random.default_rng(1)
    mu, logvar, noise = rng.normal(size=(3, 5, 4))
    z, kl, _ = ops.reparameterize_kl_forward(mu, logvar, noise)
    assert np.array_equal(z, ops.reparameterize_forward(mu, logvar, noise)[0])
    assert np.array_equal(kl, ops.gaussian_kl_forward(mu, logvar)[0])


def test_likelihoods_are_normalised():
    grid = np.linspace(-40, 40, 20001)[:, None]
    mean, logvar = np.full_like(grid, 0.7), np.log([2.3])
    density = np.exp(-ops.gaussian_nll_forward(grid, mean, logvar)[0])
    assert np.sum(density) * 0.004 == pytest.approx(1, abs=1e-12)
    logits = np.linspace(-5, 5, 11)[:, None]
    coins = [np.exp(-ops.bernoulli_nll_forward(x + 0 * logits, logits)[0]) for x in (0.0, 1.0)]
    np.testing.assert_allclose(sum(coins), 1, rtol=1e-14)
    classes = np.random.default_rng(0).normal(size=(1, 5)) * 10
    total = sum(np.exp(-ops.categorical_nll_forward(np.array([k]), classes)[0]) for k in range(5))
    np.testing.assert_allclose(total, 1, rtol=1e-14)


def test_the_gaussian_likelihood_is_scipys():
    rng = np.random.default_rng(0)
    x, mean = rng.normal(size=(2, 6, 3))
    logvar = rng.normal(size=3)
    exact = -stats.norm.logpdf(x, mean, np.exp(0.5 * logvar)).sum(axis=1)
    np.testing.assert_allclose(ops.gaussian_nll_forward(x, mean, logvar)[0], exact, rtol=1e-13)


def test_a_squared_error_is_a_squared_length_and_its_gradient_two_residuals():
    """3-4-5 in two axes; with one gradient for each sample, and of both arguments."""
    x, target = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    x[0, 0, 0], x[0, 1, 1], target[1, 0, 1] = 3.0, 4.0, 2.0
    loss, cache = ops.squared_error_forward(x, target)
    assert loss.tolist() == [25.0, 4.0]
    dx, dtarget = ops.squared_error_backward(np.array([0.5, 10.0]), cache)
    assert dx[0].tolist() == [[3.0, 0.0], [0.0, 4.0]]
    assert dx[1].tolist() == [[0.0, -40.0], [0.0, 0.0]]
    assert np.array_equal(dtarget, -dx)


def test_a_squared_error_is_a_gaussian_likelihood_but_for_its_constant():
    x, mean = np.random.default_rng(0).normal(size=(2, 5, 3))
    logvar = np.full(3, -np.log(2))
    constant = 3 * 0.5 * (np.log(2 * np.pi) - np.log(2))
    nll, _ = ops.gaussian_nll_forward(x, mean, logvar)
    np.testing.assert_allclose(ops.squared_error_forward(x, mean)[0], nll - constant, rtol=1e-13)


def test_class_logits_have_no_zero_point_and_never_overflow():
    labels, logits = np.array([0, 2]), np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]])
    nll = ops.categorical_nll_forward(labels, logits)[0]
    np.testing.assert_allclose(ops.categorical_nll_forward(labels, logits + 1e4)[0], nll, atol=1e-9)


def test_the_embedding_knows_differences_of_times_and_no_two_times_alike():
    y = ops.sinusoidal_embedding_forward(np.arange(1001.0), dim=32)[0]
    products = y @ y.T
    for lag in (1, 10, 333):
        diagonal = np.diagonal(products, lag)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-9)
    apart = np.sqrt(np.maximum(32 - 2 * products + np.eye(1001) * 99, 0))
    assert apart.min() > 0.5
    with pytest.raises(ValueError, match="even"):
        ops.sinusoidal_embedding_forward(np.zeros(1), dim=3)


def test_noising_keeps_unit_variance_when_the_squares_sum_to_one():
    """Over data = ±1 and noise = ±1 the variance is a² + b² exactly."""
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=2)))
    a, b = np.full(4, 0.6), np.full(4, 0.8)
    x, _ = ops.noising_forward(signs[:, :1], signs[:, 1:], a, b)
    assert np.var(x) == pytest.approx(1, rel=1e-15)


@given(alpha_bar=st.floats(0.01, 0.98), ratio=st.floats(0.05, 0.99))
def test_the_ancestral_step_goes_to_the_mean_of_the_conditioned_gaussian(alpha_bar, ratio):
    """Condition (x_s, x_t) given x_0 as any joint Gaussian, and compare."""
    alpha_bar_next = alpha_bar + (1 - alpha_bar) * (1 - ratio)
    alpha = alpha_bar / alpha_bar_next
    data, noise = np.array([[0.7]]), np.array([[-1.3]])
    x = np.sqrt(alpha_bar) * data + np.sqrt(1 - alpha_bar) * noise
    gain = np.sqrt(alpha) * (1 - alpha_bar_next) / (1 - alpha_bar)  # cov(x_s, x_t) / var(x_t)
    mean = np.sqrt(alpha_bar_next) * data + gain * (x - np.sqrt(alpha_bar) * data)
    stepped, _ = ops.ddpm_step_forward(x, noise, noise, alpha=alpha, alpha_bar=alpha_bar, sigma=0.0)
    np.testing.assert_allclose(stepped, mean, rtol=1e-9, atol=1e-12)


@given(alpha_bar=st.floats(0.01, 0.98), up=st.floats(0.0, 1.0))
def test_ddim_lands_on_the_same_noise_at_the_next_level(alpha_bar, up):
    alpha_bar_next = alpha_bar + (1 - alpha_bar) * up
    data, noise = np.array([[0.7, 2.0]]), np.array([[-1.3, 0.4]])

    def level(ab):
        return np.sqrt(ab) * data + np.sqrt(max(1 - ab, 0)) * noise

    levels = {"alpha_bar": alpha_bar, "alpha_bar_next": alpha_bar_next, "sigma": 0.0}
    x, _ = ops.ddim_step_forward(level(alpha_bar), noise, noise, **levels)
    np.testing.assert_allclose(x, level(alpha_bar_next), rtol=1e-9, atol=1e-12)


def test_ddim_with_the_posterior_variance_is_the_ancestral_step():
    x, noise_hat, noise = np.random.default_rng(0).normal(size=(3, 4, 2))
    alpha_bar, alpha_bar_next = 0.4, 0.55
    alpha = alpha_bar / alpha_bar_next
    sigma = np.sqrt((1 - alpha) * (1 - alpha_bar_next) / (1 - alpha_bar))
    levels = {"alpha_bar": alpha_bar, "alpha_bar_next": alpha_bar_next, "sigma": sigma}
    ddim, _ = ops.ddim_step_forward(x, noise_hat, noise, **levels)
    ddpm, _ = ops.ddpm_step_forward(
        x, noise_hat, noise, alpha=alpha, alpha_bar=alpha_bar, sigma=sigma
    )
    np.testing.assert_allclose(ddim, ddpm, rtol=1e-12)
    with pytest.raises(ValueError, match="lower eta"):
        ops.ddim_step_forward(x, noise_hat, noise, **{**levels, "sigma": 0.9})


def test_a_drawn_op_is_the_op_with_that_noise():
    rng, stream = np.random.default_rng(0), (1, 2, 3, 4)
    data, mu, logvar = rng.normal(size=(3, 2, 5)).astype(np.float32)
    a, b = np.array([0.6, 0.8], np.float32), np.array([0.8, 0.6], np.float32)
    noise = ops.normals(stream, 7, 10).reshape(2, 5)
    x, drawn = ops.noising_drawn(data, a, b, stream, 7)
    assert np.array_equal(drawn, noise)
    assert np.array_equal(x, ops.noising_forward(data, noise, a, b)[0])
    z, kl, _ = ops.reparameterize_kl_drawn(mu, logvar, stream, 7)
    exact = ops.reparameterize_kl_forward(mu, logvar, noise)
    assert np.array_equal(z, exact[0])
    assert np.array_equal(kl, exact[1])
    ddpm = {"alpha": 0.9, "alpha_bar": 0.5, "sigma": 0.3}
    ddim = {"alpha_bar": 0.5, "alpha_bar_next": 0.6, "sigma": 0.3}
    for name, static in (("ddpm_step", ddpm), ("ddim_step", ddim)):
        forward = getattr(ops, f"{name}_forward")(data, mu, noise, **static)[0]
        assert np.array_equal(getattr(ops, f"{name}_drawn")(data, mu, stream, 7, **static), forward)


@given(seed=st.integers(0, 2**31), dim=st.integers(1, 4))
def test_a_coupling_is_undone_by_its_inverse_and_knows_its_volume(seed, dim):
    x, shift, log_scale = np.random.default_rng(seed).normal(size=(3, 1, dim))
    y, logdet, _ = ops.affine_coupling_forward(x, shift, log_scale)
    np.testing.assert_allclose(ops.affine_coupling_inverse(y, shift, log_scale), x, atol=1e-12)

    def f(v):
        return ops.affine_coupling_forward(v[None], shift, log_scale)[0][0]

    assert check.logdet_gap(f, float(logdet[0]), x[0]) < 1e-12


def test_the_discriminator_is_at_rest_where_its_odds_are_those_of_the_densities():
    """Weigh one real and one fake logit by p and q: the slope is 0 at D = p / (p + q)."""
    for p, q in ((0.2, 0.7), (1.0, 1.0), (3.0, 0.1)):
        logit = np.array([np.log(p / q)])
        _, cache = ops.discriminator_loss_forward(logit, logit)
        dreal, dfake = ops.discriminator_loss_backward(np.ones(1), cache)
        assert p * dreal[0] + q * dfake[0] == pytest.approx(0, abs=1e-15)


def test_the_generators_two_losses_agree_in_sign_and_differ_in_strength():
    logit = np.array([-8.0, 0.0, 8.0])  # D ≈ 0, ½, 1
    grads = {}
    for name in ("minimax", "nonsaturating"):
        loss, cache = getattr(ops, f"{name}_loss_forward")(logit)
        grads[name] = getattr(ops, f"{name}_loss_backward")(np.ones(3), cache)
        assert (grads[name] < 0).all()  # both push the logit up
        assert loss[1] == pytest.approx({"minimax": -np.log(2), "nonsaturating": np.log(2)}[name])
    assert grads["minimax"][1] == grads["nonsaturating"][1] == -0.5
    assert abs(grads["minimax"][0]) < 1e-3 < 0.99 < abs(grads["nonsaturating"][0])


def test_adams_first_step_is_the_learning_rate_whatever_the_gradient():
    g = np.array([1e-4, -3.0, 1e4])
    p, m, v = ops.adam_step(np.zeros(3), g, np.zeros(3), np.zeros(3), step=1, lr=0.01)
    np.testing.assert_allclose(p, -0.01 * np.sign(g), rtol=2e-4)
    np.testing.assert_allclose(m, 0.1 * g)
    np.testing.assert_allclose(v, 0.001 * g * g)
    with pytest.raises(ValueError, match="from 1"):
        ops.adam_step(p, g, m, v, step=0, lr=0.01)


def test_adam_on_a_constant_gradient_keeps_moving_at_the_learning_rate():
    """Bias correction makes m̂ = g and v̂ = g² at every step; without it the first steps differ."""
    p, m, v = np.zeros((3, 1))
    for step in range(1, 50):
        p, m, v = ops.adam_step(p, np.array([2.0]), m, v, step=step, lr=0.01)
        np.testing.assert_allclose(p, -0.01 * step, rtol=1e-6)


def test_the_moving_average_rests_on_a_constant_and_forgets_at_its_rate():
    p = np.array([3.0])
    assert ops.ema_step(p, p, decay=0.9) == pytest.approx(3.0)
    average = np.zeros(1)
    for _ in range(20):
        average = ops.ema_step(average, p, decay=0.9)
    assert average == pytest.approx(3 * (1 - 0.9**20))
    both = ops.adam_ema_step(p, p, 0 * p, 0 * p, 0 * p, step=1, lr=0.1, decay=0.5)
    assert both[3] == pytest.approx(0.5 * both[0])


def test_the_likelihood_of_a_class_does_not_depend_on_the_other_examples():
    """Each row is shifted by a number of its own: one row's would leave another without digits."""
    logits = np.array([[1000.0, 1000.0], [0.0, 0.0]])
    nll, _ = ops.categorical_nll_forward(np.array([0, 1]), logits)
    np.testing.assert_allclose(nll, np.log([2, 2]), rtol=1e-14)
