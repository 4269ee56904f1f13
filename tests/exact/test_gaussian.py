"""The Gaussian world and the linear-Gaussian latent model, against independent computations."""

import numpy as np
import pytest
from scipy import stats

from refgen.check.witness import complex_step
from refgen.exact import Gaussian, LinearGaussian
from refgen.noise import Noise
from tests.exact.worlds import WORLDS


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    return LinearGaussian(rng.normal(size=(4, 2)), rng.normal(size=4), 0.3)


def test_log_density_and_entropy_agree_with_another_library():
    world = WORLDS["gaussian"]
    x = np.random.default_rng(0).normal(size=(10, 3))
    cov = 0.36 * world.cov + 0.64 * np.eye(3)
    other = stats.multivariate_normal(0.6 * world.mean, cov)
    np.testing.assert_allclose(world.log_density(x, 0.6, 0.8), other.logpdf(x), rtol=1e-12)
    clean = stats.multivariate_normal(world.mean, world.cov)
    assert world.entropy == pytest.approx(clean.entropy(), rel=1e-12)


def test_draws_have_the_mean_and_covariance_of_the_world():
    world = WORLDS["gaussian"]
    n = 100_000
    x = world.sample(n, Noise(0))
    error = np.sqrt(np.diag(world.cov) / n)
    assert np.all(np.abs(np.mean(x, axis=0) - world.mean) < 4 * error)
    var = np.diag(world.cov)
    scatter = np.sqrt((np.outer(var, var) + world.cov**2) / n)
    assert np.all(np.abs(np.cov(x.T) - world.cov) < 4 * scatter)


def test_the_fit_has_the_highest_likelihood():
    data = np.random.default_rng(0).normal(size=(50, 2)) @ np.array([[1.0, 0.4], [0.0, 0.7]])
    best = Gaussian.fit(data)
    top = np.mean(best.log_density(data))
    assert top > np.mean(Gaussian(best.mean, 1.02 * best.cov).log_density(data))
    assert top > np.mean(Gaussian(best.mean, 0.98 * best.cov).log_density(data))
    assert top > np.mean(Gaussian(best.mean + 0.01, best.cov).log_density(data))


def test_kl_is_zero_only_at_home_and_agrees_with_quadrature():
    p, q = Gaussian(np.array([0.3]), np.array([[0.5]])), Gaussian(np.zeros(1), np.array([[1.2]]))
    x = np.linspace(-9, 9, 20_001)[:, None]
    log_p, log_q = p.log_density(x), q.log_density(x)
    quadrature = np.sum(np.exp(log_p) * (log_p - log_q)) * float(x[1, 0] - x[0, 0])
    assert p.kl(q) == pytest.approx(quadrature, rel=1e-11)
    assert p.kl(p) == pytest.approx(0, abs=1e-15)
    assert p.kl(q) != pytest.approx(q.kl(p), rel=1e-2)


def test_a_singular_covariance_is_a_world_once_noised():
    flat = Gaussian(np.zeros(2), np.array([[1.0, 1.0], [1.0, 1.0]]))
    x = np.array([[1.0, 3.0]])
    np.testing.assert_allclose(flat.data_mean(x, 1.0, 1.0), [[4 / 3, 4 / 3]], rtol=1e-14)
    draws = flat.sample(100, Noise(0))
    np.testing.assert_allclose(draws[:, 0], draws[:, 1], rtol=1e-12)
    assert flat.entropy == -np.inf
    with pytest.raises(ValueError, match="use b > 0"):
        flat.score(x)


@pytest.mark.parametrize(
    ("mean", "cov", "words"),
    [
        (np.zeros(2), np.eye(3), r"mean \(D,\)"),
        (np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (np.zeros(2), np.diag([1.0, -0.1]), "negative eigenvalue"),
    ],
)
def test_what_is_not_a_gaussian_is_refused(mean, cov, words):
    with pytest.raises(ValueError, match=words):
        Gaussian(mean, cov)


def test_the_evidence_is_the_joint_over_the_posterior_at_every_latent(model):
    x, _ = model.sample(1, Noise(0))
    mean, cov = model.posterior(x)
    for z in np.random.default_rng(0).normal(size=(5, 1, 2)):
        log_posterior = stats.multivariate_normal(mean[0], cov).logpdf(z[0])
        evidence = model.log_joint(x, z)[0] - log_posterior
        assert evidence == pytest.approx(model.log_density(x)[0], rel=1e-12)


def test_the_evidence_is_the_integral_over_the_latents(model):
    x, _ = model.sample(3, Noise(1))
    step = 0.05
    axis = np.arange(-8, 8, step)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    for i in range(3):
        joint = np.exp(model.log_joint(np.tile(x[i], (len(z), 1)), z))
        assert np.log(np.sum(joint) * step**2) == pytest.approx(
            model.log_density(x[i : i + 1])[0], rel=1e-10
        )


def test_the_gap_of_the_bound_is_the_divergence_to_the_posterior(model):
    x, _ = model.sample(6, Noise(0))
    rng = np.random.default_rng(0)
    mean, half = rng.normal(size=(6, 2)), rng.normal(size=(6, 2, 2))
    cov = half @ np.swapaxes(half, 1, 2) + 0.1 * np.eye(2)
    gap = model.log_density(x) - model.elbo(x, mean, cov)
    best_mean, best_cov = model.posterior(x)
    kl = [Gaussian(mean[i], cov[i]).kl(Gaussian(best_mean[i], best_cov)) for i in range(len(x))]
    reversed_kl = [
        Gaussian(best_mean[i], best_cov).kl(Gaussian(mean[i], cov[i])) for i in range(len(x))
    ]
    np.testing.assert_allclose(gap, kl, rtol=1e-11)
    assert np.max(np.abs(gap / reversed_kl - 1)) > 0.1


def test_the_bound_is_tight_and_stationary_at_the_posterior(model):
    x, _ = model.sample(4, Noise(0))
    mean, cov = model.posterior(x)
    np.testing.assert_allclose(model.elbo(x, mean, cov), model.log_density(x), rtol=1e-12)
    t = np.random.default_rng(0).normal(size=mean.shape)
    slope = complex_step(lambda m: model.elbo(x, m, cov), [mean], [t])
    np.testing.assert_allclose(slope, 0, atol=1e-12)


def test_drawn_pairs_have_the_likelihood_they_claim(model):
    """The mean of log p(x | z) over the model is −½ D (1 + log 2πv), whatever the weights."""
    x, z = model.sample(40_000, Noise(0))
    log_p = model.log_likelihood(x, z)
    expected = -0.5 * 4 * (1 + np.log(2 * np.pi * model.var))
    assert abs(np.mean(log_p) - expected) < 4 * np.std(log_p) / np.sqrt(len(x))
    evidence = model.log_density(x)
    error = np.std(evidence) / np.sqrt(len(x))
    assert abs(np.mean(evidence) + model.marginal.entropy) < 4 * error


def test_a_model_without_spread_is_refused():
    with pytest.raises(ValueError, match="var > 0"):
        LinearGaussian(np.ones((2, 1)), np.zeros(2), 0.0)
