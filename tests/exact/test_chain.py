"""The linear-Gaussian chain: evidence, bound and terms, each by its own road."""

import numpy as np
import pytest

from refgen.exact import Gaussian, LinearGaussianChain
from refgen.processes.schedule import Schedule

X0 = np.array([-1.3, 0.0, 0.4, 2.0])


@pytest.fixture
def chain():
    rng = np.random.default_rng(0)
    beta = np.array([0.0, 0.1, 0.25, 0.3, 0.5, 0.4])
    return LinearGaussianChain(
        Schedule("hand", beta), rng.uniform(0.4, 1.1, 6), rng.normal(size=6), rng.uniform(0.1, 1, 6)
    )


def joint(chain):
    """Return mean and covariance of x_0 .. x_T under p, as the linear map of its own noise."""
    t = len(chain.var) - 1
    mean, factor = np.zeros(t + 1), np.zeros((t + 1, t + 1))
    factor[t, t] = 1.0
    for i in range(t, 0, -1):
        mean[i - 1] = chain.slope[i] * mean[i] + chain.offset[i]
        factor[i - 1] = chain.slope[i] * factor[i]
        factor[i - 1, i - 1] = np.sqrt(chain.var[i])
    return mean, factor @ factor.T


def test_the_evidence_is_the_marginal_of_the_joint(chain):
    mean, cov = joint(chain)
    marginal = Gaussian(mean[:1], cov[:1, :1])
    np.testing.assert_allclose(chain.log_density(X0), marginal.log_density(X0[:, None]), rtol=1e-12)


def test_the_moments_are_those_of_the_forward_steps(chain):
    """Each step scales by √α_t and adds β_t of its own."""
    mean, cov = chain.moments(X0)
    steps = len(chain.var)
    factor, level = np.zeros((steps, steps)), np.ones(steps)
    for t in range(1, steps):
        alpha = 1 - chain.schedule.beta[t]
        level[t] = np.sqrt(alpha) * level[t - 1]
        factor[t] = np.sqrt(alpha) * factor[t - 1]
        factor[t, t] = np.sqrt(chain.schedule.beta[t])
    np.testing.assert_allclose(mean, np.outer(X0, level), rtol=1e-13)
    np.testing.assert_allclose(cov, factor @ factor.T, atol=1e-14)


def test_the_terms_sum_to_the_bound(chain):
    terms = chain.terms(X0)
    np.testing.assert_allclose(terms.elbo, chain.elbo(X0), rtol=1e-12)
    assert terms.transitions.shape == (4, 4)
    assert np.all(terms.transitions > 0)
    assert np.all(terms.prior > 0)
    without = terms._replace(transitions=terms.transitions[:, 1:])
    assert np.all(np.abs(without.elbo - chain.elbo(X0)) > 1e-3)


def test_the_gap_of_the_bound_is_the_divergence_of_the_whole_path(chain):
    """The gap log p(x_0) − ELBO is KL[q(x_{1:T} | x_0) ‖ p(x_{1:T} | x_0)], both dense."""
    mean, cov = joint(chain)
    gain = cov[1:, 0] / cov[0, 0]
    given = cov[1:, 1:] - np.outer(gain, cov[0, 1:])
    q_mean, q_cov = chain.moments(X0)
    gap = chain.log_density(X0) - chain.elbo(X0)
    for i, x0 in enumerate(X0):
        q = Gaussian(q_mean[i, 1:], q_cov[1:, 1:])
        p = Gaussian(mean[1:] + gain * (x0 - mean[0]), given)
        assert gap[i] == pytest.approx(q.kl(p), rel=1e-11)
        assert gap[i] != pytest.approx(p.kl(q), rel=1e-2)


def test_the_true_reverse_of_gaussian_data_gives_the_data_back():
    """Noise covers the data at T up to ᾱ_T, so the evidence is that of the data up to as much."""
    beta = np.concatenate([[0.0], np.full(200, 0.15)])
    reverse = LinearGaussianChain.reverse(Schedule("constant", beta), 0.7, 0.3)
    data = Gaussian(np.array([0.7]), np.array([[0.3]]))
    np.testing.assert_allclose(reverse.log_density(X0), data.log_density(X0[:, None]), rtol=1e-6)
    wrong = LinearGaussianChain(reverse.schedule, reverse.slope, 1.1 * reverse.offset, reverse.var)
    assert np.max(np.abs(wrong.log_density(X0) - reverse.log_density(X0))) > 1e-2


def test_a_chain_that_does_not_fit_its_schedule_is_refused(chain):
    with pytest.raises(ValueError, match="like the schedule"):
        LinearGaussianChain(chain.schedule, chain.slope[1:], chain.offset, chain.var)
    with pytest.raises(ValueError, match="var\\[1:\\] > 0"):
        LinearGaussianChain(chain.schedule, chain.slope, chain.offset, 0 * chain.var)
