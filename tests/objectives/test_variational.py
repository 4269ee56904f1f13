"""The bound, term by term, against chains and levels whose evidence is known."""

import numpy as np
import pytest
from hypothesis import given

from refgen.check import order_of_convergence
from refgen.exact import Gaussian, LinearGaussianChain
from refgen.models import TimeMLP
from refgen.noise import Noise
from refgen.objectives.discretized import Bins, discretized_nll_forward, matched
from refgen.objectives.hybrid import Hybrid, TwoHeads
from refgen.objectives.variational import Step, VariationalBound
from refgen.processes.discrete import of_schedule
from refgen.processes.parametrization import coefficients
from refgen.processes.schedule import cosine, from_alpha_bar, linear, zero_terminal
from tests.objectives.bounds import SCHEDULE, best_lines, each_kind, expected, seeds, some_bound
from tests.objectives.models import Best, Line, gauss, some, witnessed

pytestmark = pytest.mark.tiny


def lines(seed, T=8):
    """Return the parameters of an arbitrary linear predictor."""
    rng = np.random.default_rng(seed)
    return {"slope": rng.normal(size=T + 1), "offset": rng.normal(size=T + 1)}


def chain_of(bound, params):
    """Return the reverse kernels of a linear predictor, and the variances that it has."""
    t, path = np.arange(1, bound.schedule.T + 1), of_schedule(bound.schedule)
    of_x, of_y = coefficients(bound.kind, "mean", path.levels(t), path.levels(t - 1))
    low = Step(*bound._table[1:].T).low  # where the variance is fixed, this is it
    var = np.concatenate([[1.0], np.exp(low)])
    slope = np.concatenate([[0.0], of_x + of_y * params["slope"][1:]])
    offset = np.concatenate([[0.0], of_y * params["offset"][1:]])
    return LinearGaussianChain(bound.schedule, slope, offset, var)


@each_kind
@pytest.mark.parametrize("variance", ["beta", "posterior"])
@given(seed=seeds)
def test_every_term_is_that_of_the_chain_whose_kernels_the_network_makes(kind, variance, seed):
    """A weight, an index or a variance that is off moves a term: three chains are not one."""
    bound = VariationalBound(Line(), SCHEDULE, kind, variance)
    params, x0 = lines(seed), np.random.default_rng(seed + 1).normal(size=4)
    chain, found = chain_of(bound, params), expected(bound, params, x0)
    terms = chain.terms(x0)
    np.testing.assert_allclose(bound.prior(x0[:, None]), terms.prior, rtol=1e-9)
    np.testing.assert_allclose(found[1:].T, terms.transitions, rtol=1e-9)
    np.testing.assert_allclose(found[0], terms.reconstruction, rtol=1e-9)
    assert np.all(bound.prior(x0[:, None]) >= 0)
    assert np.all(found[1:] >= 0)


@given(seed=seeds)
def test_the_bound_lies_above_minus_log_p(seed):
    bound, x0 = VariationalBound(Line(), SCHEDULE), np.linspace(-2, 2, 5)
    params = lines(seed)
    total = bound.prior(x0[:, None]) + expected(bound, params, x0).sum(axis=0)
    assert np.all(total > -chain_of(bound, params).log_density(x0))


@each_kind
def test_the_bound_is_minus_log_p_where_the_model_is_the_truth(kind):
    """Standard normal data have β_t for the reverse variance; then nothing is lost, for any x_0."""
    world = Gaussian(np.zeros(1), np.eye(1))
    bound, params = VariationalBound(Line(), SCHEDULE, kind), best_lines(world, kind)
    x0 = np.linspace(-2.5, 2.5, 7)
    total = bound.prior(x0[:, None]) + expected(bound, params, x0).sum(axis=0)
    np.testing.assert_allclose(total, -world.log_density(x0[:, None]), rtol=1e-9)
    posterior = VariationalBound(Line(), SCHEDULE, kind, "posterior")
    loose = posterior.prior(x0[:, None]) + expected(posterior, params, x0).sum(axis=0)
    assert loose.mean() > total.mean() + 0.01


@each_kind
@pytest.mark.parametrize("variance", ["beta", "posterior", "learned"])
@pytest.mark.parametrize("bins", [None, Bins(5)], ids=["density", "levels"])
@given(seed=seeds)
def test_the_gradient_is_the_adjoint_of_the_bound(kind, variance, bins, seed):
    rng = np.random.default_rng(seed)
    bound, params = some_bound(kind, variance, bins, linear(3, 0.05, 0.4))
    data = rng.choice(Bins(5).levels, size=(4, 3))
    assert witnessed(bound, params, data, Noise(seed), rng) < 1e-12


def test_a_term_is_the_divergence_of_two_gaussians_by_quadrature():
    bound, params = some_bound("v", "learned", None)
    rng = np.random.default_rng(0)
    data, drawn, t = rng.normal(size=(7, 3)), rng.normal(size=(7, 3)), np.arange(2, 9)
    found = bound.value(params, data, drawn, t)
    z, weights = gauss(30)
    for i, at in enumerate(t):
        x = SCHEDULE.signal(at) * data[i] + SCHEDULE.spread(at) * drawn[i]
        mean, logvar = (a[0] for a in bound.reverse(params, x[None], int(at)))
        keep, before = SCHEDULE.alpha_bar[at], SCHEDULE.alpha_bar[at - 1]
        var = SCHEDULE.posterior_var[at]
        centre = np.sqrt(SCHEDULE.alpha[at]) * (1 - before) / (1 - keep) * x
        centre = centre + np.sqrt(before) * SCHEDULE.beta[at] / (1 - keep) * data[i]
        draws = centre + np.sqrt(var) * z[:, None]
        log_q = -0.5 * (z[:, None] ** 2 + np.log(var))
        log_p = -0.5 * ((draws - mean) ** 2 / np.exp(logvar) + logvar)
        assert found.term.nats[i] == pytest.approx(
            weights @ np.sum(log_q - log_p, axis=1), rel=1e-9
        )


@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_with_levels_the_bound_lies_above_minus_log_p_of_the_level(variance):
    """P(level) = ∫ p(x_1) P(level | x_1) dx_1; the levels of a model sum to 1."""
    bins, params = Bins(5), lines(3)
    bound = VariationalBound(Line(), SCHEDULE, "data", variance, bins)
    chain = chain_of(bound, params)
    m, v = 0.0, 1.0
    for t in range(SCHEDULE.T, 1, -1):
        m, v = chain.slope[t] * m + chain.offset[t], chain.slope[t] ** 2 * v + chain.var[t]
    z = np.linspace(-12, 12, 8001)
    mean = chain.slope[1] * (m + np.sqrt(v) * z) + chain.offset[1]
    weights = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    log_p = []
    for level in bins.levels:
        x, logvar = np.full((len(z), 1), level), np.full((len(z), 1), np.log(chain.var[1]))
        nll, _ = discretized_nll_forward(x, mean[:, None], logvar, bins=bins)
        log_p.append(np.log(weights @ np.exp(-nll)))
    assert np.sum(np.exp(log_p)) == pytest.approx(1, abs=1e-9)
    nodes, weights = gauss(60)
    total = bound.prior(bins.levels[:, None])
    for drawn, weight in zip(nodes, weights, strict=True):
        for t in range(1, SCHEDULE.T + 1):
            noise, times = np.full((5, 1), drawn), np.full(5, t)
            total = (
                total + weight * bound.value(params, bins.levels[:, None], noise, times).term.nats
            )
    assert np.all(total > -np.array(log_p))
    assert total.mean() > np.log(5)  # the entropy of levels that are equally likely


def deltas_bound(schedule, bins, first_var):
    """Return the bound, in bits, of levels equally likely, with their exact denoiser."""
    levels = bins.levels

    class Denoise:
        def forward(self, params, x, t):
            a, b = schedule.signal(t)[:, None], schedule.spread(t)[:, None]
            log_p = -0.5 * ((x - a * levels) / b) ** 2
            r = np.exp(log_p - log_p.max(axis=1, keepdims=True))
            return (r / r.sum(axis=1, keepdims=True)) @ levels[:, None], None

    bound = VariationalBound(Denoise(), schedule, "data", "posterior", bins, first_var)
    nodes, weights = gauss(50)
    x0, drawn = np.repeat(levels, 50)[:, None], np.tile(nodes, len(levels))[:, None]
    weights = np.tile(weights, len(levels)) / len(levels)
    total = weights @ bound.prior(x0)
    for t in range(1, schedule.T + 1):
        total += weights @ bound.value({}, x0, drawn, np.full(len(x0), t)).term.nats
    return total / np.log(2)


def even(T, first, last=1e-4):
    """Return T levels even in the log of signal to noise, from a first noise on."""
    log_snr = np.linspace(np.log(1 / first**2 - 1), np.log(last / (1 - last)), T)
    return from_alpha_bar("even", np.concatenate([[1.0], 1 / (1 + np.exp(-log_snr))]))


def test_levels_need_the_bits_that_they_hold_as_steps_grow_sooner_where_the_first_noise_fits():
    """17 levels hold log₂ 17 bits; what the exact model pays beyond falls like 1/T."""
    bins, beyond = Bins(17), []
    fit = matched(bins)
    for T in (50, 100, 200):
        paid = deltas_bound(even(T, np.sqrt(fit.beta)), bins, fit.var)
        beyond.append(paid - np.log2(17))
    assert order_of_convergence([50, 100, 200], beyond) == pytest.approx(1, abs=0.1)
    assert beyond[1] == pytest.approx(0.19, abs=0.01)
    fine = deltas_bound(even(100, 0.1 * bins.width), bins, (0.1 * bins.width) ** 2)
    assert fine - np.log2(17) == pytest.approx(0.39, abs=0.01)
    for factor in (4, 0.25):
        other = deltas_bound(even(100, np.sqrt(fit.beta)), bins, factor * fit.var)
        assert other - np.log2(17) > beyond[1] + 0.2


def test_one_drawn_time_estimates_the_sum_without_bias():
    """T times the term: the mean over all times is the sum, at any draw of the noise."""
    bound, params = some_bound("noise", "learned", Bins(5))
    data = np.random.default_rng(0).choice(Bins(5).levels, size=(50, 3))
    terms, _ = bound.forward(params, data, Noise(3))
    t = 1 + Noise(3).at("t").integers(8, 50)
    drawn = Noise(3).at("noise").normal((50, 3))
    each = bound.value(params, data, drawn, t).term.nats
    np.testing.assert_allclose(terms["loss"], bound.prior(data) + 8 * each, rtol=1e-12)
    assert set(t) == set(range(1, 9))


@each_kind
def test_the_reverse_mean_is_the_posteriors_where_the_network_knows_the_data(kind):
    """With one datum in the world the data are known, and μ_θ is μ̃."""
    world = Gaussian(np.array([0.3]), np.array([[1e-30]]))
    bound = VariationalBound(Best(world, of_schedule(SCHEDULE), kind), SCHEDULE, kind, "posterior")
    x = np.linspace(-1, 1, 5)[:, None]
    for t in range(1, 9):
        mean, logvar = bound.reverse({}, x, t)
        keep, before = SCHEDULE.alpha_bar[t], SCHEDULE.alpha_bar[t - 1]
        exact = np.sqrt(SCHEDULE.alpha[t]) * (1 - before) / (1 - keep) * x
        exact = exact + np.sqrt(before) * SCHEDULE.beta[t] / (1 - keep) * 0.3
        np.testing.assert_allclose(mean, exact, rtol=1e-9, atol=1e-12)
        if t > 1:
            np.testing.assert_allclose(np.exp(logvar), SCHEDULE.posterior_var[t])


def test_the_whole_bound_asks_the_network_once_a_level():
    _, params = some_bound("noise", "posterior", Bins(5))
    data, calls = np.zeros((2, 3)), []
    forward = TimeMLP.forward

    class Counting(TimeMLP):
        def forward(self, params, x, t):
            calls.append(int(t[0]))
            return forward(self, params, x, t)

    counted = VariationalBound(
        Counting(3, 5, 1, embedding=4), SCHEDULE, "noise", "posterior", Bins(5)
    )
    terms = counted.terms(params, data, Noise(0))
    assert calls == list(range(1, 9))
    assert terms.prior.shape == terms.reconstruction.shape == (2,)
    assert terms.transitions.shape == (2, 7)
    again = counted.terms(params, data, Noise(0))
    assert np.array_equal(terms.elbo, again.elbo)


@pytest.mark.parametrize("schedule", [zero_terminal(cosine(6)), linear(1, 0.3, 0.3)])
def test_the_hardest_schedules_have_a_finite_bound(schedule):
    """No signal at the end, and one step only."""
    network = TimeMLP(3, 5, 1, embedding=4)
    bound = VariationalBound(TwoHeads(network, network), schedule, "v", "learned", Bins(5))
    data = np.random.default_rng(0).choice(Bins(5).levels, size=(4, 3))
    terms = bound.terms(some(bound.model, Noise(0)), data, Noise(1))
    assert np.all(np.isfinite(terms.elbo))
    if schedule.zero_terminal:
        np.testing.assert_allclose(terms.prior, 0, atol=1e-15)


def test_what_cannot_be_is_refused_with_the_reason():
    network = TimeMLP(3, 5, 1, embedding=4)
    with pytest.raises(ValueError, match="beta, posterior, learned"):
        VariationalBound(network, SCHEDULE, variance="fixed")
    with pytest.raises(ValueError, match="stands for β̃_1"):
        VariationalBound(network, SCHEDULE, first_var=0.1)
    with pytest.raises(ValueError, match="says nothing about the data"):
        VariationalBound(network, zero_terminal(SCHEDULE), "noise")
    with pytest.raises(ValueError, match="two networks make a TwoHeads"):
        VariationalBound(network, SCHEDULE, variance="learned").forward(
            some(network, Noise(0)), np.zeros((2, 3)), Noise(0)
        )
    with pytest.raises(ValueError, match="nothing else learns from the bound"):
        Hybrid(VariationalBound(network, SCHEDULE))
    bound = VariationalBound(network, SCHEDULE, bins=Bins(256))
    for ask in (bound.forward, bound.terms):
        with pytest.raises(ValueError, match="none of 256 levels"):
            ask(some(network, Noise(0)), np.full((2, 3), 0.1), Noise(0))
