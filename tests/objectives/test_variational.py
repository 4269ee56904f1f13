"""The bound, term by term, against chains whose evidence is known; and what learns from it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import tree
from refgen.check import order_of_convergence
from refgen.exact import Gaussian, LinearGaussianChain
from refgen.models import TimeMLP
from refgen.noise import Noise
from refgen.objectives.denoising import Denoising
from refgen.objectives.discretized import Bins, discretized_nll_forward, matched
from refgen.objectives.hybrid import Hybrid, TwoHeads
from refgen.objectives.variational import Step, VariationalBound
from refgen.processes.discrete import of_schedule
from refgen.processes.parametrization import coefficients
from refgen.processes.schedule import cosine, from_alpha_bar, linear, zero_terminal
from tests.objectives.models import Best, Line, gauss, signs, some, witnessed

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)
KINDS = ("noise", "data", "v", "score", "mean")
SCHEDULE = linear(8, 0.02, 0.4)
each_kind = pytest.mark.parametrize("kind", KINDS)


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


def expected(bound, params, x0):
    """Return every term (T, N) on average over the noise, exact for what is quadratic in it."""
    T, found = bound.schedule.T, []
    for t in range(1, T + 1):
        nats = [
            bound.value(params, x0[:, None], np.full((len(x0), 1), sign), np.full(len(x0), t))
            for sign in (-1.0, 1.0)
        ]
        found.append(0.5 * (nats[0].term.nats + nats[1].term.nats))
    return np.stack(found)


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


def best_lines(world, kind):
    """Return the exact prediction of a Gaussian world as a linear predictor."""
    best = Best(world, of_schedule(SCHEDULE), kind)
    ends = np.array([[0.0], [1.0]])
    at = [best.forward({}, ends, np.full(2, t))[0][:, 0] for t in range(1, SCHEDULE.T + 1)]
    offset = np.array([0.0] + [y[0] for y in at])
    return {"offset": offset, "slope": np.array([0.0] + [y[1] for y in at]) - offset}


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


class WithVariance:
    """A linear predictor with r a number for each time."""

    def forward(self, params, x, t):
        """Return (y, cache)."""
        y, cache = Line().forward(params["line"], x, t)
        return np.concatenate([y, params["r"][t][:, None] + 0 * y], axis=1), (cache, t, params["r"])

    def backward(self, dy, cache):
        """Return (dx, grads)."""
        inner, t, r = cache
        dy, dr = np.split(dy, 2, axis=1)
        dx, grads = Line().backward(dy, inner)
        grads = {"line": grads, "r": np.zeros_like(r)}
        np.add.at(grads["r"], t, dr.sum(axis=1))
        return dx, grads


MEAN, STD = 0.4, 0.6


def exact_r(schedule):
    """Return r with which the variance is the reverse kernel's of data N(MEAN, STD²)."""
    var = LinearGaussianChain.reverse(schedule, MEAN, STD**2).var[1:]
    low = schedule.posterior_var[1:].copy()
    low[0] = low[1]
    high = np.log(schedule.beta[1:])
    return np.concatenate([[0.0], 2 * (np.log(var) - np.log(low)) / (high - np.log(low)) - 1])


@each_kind
def test_learnt_variances_reach_the_evidence_of_any_gaussian(kind):
    """On average over data the bound is their entropy, plus what x_T still tells: KL[q_T ‖ N]."""
    world = Gaussian(np.array([MEAN]), np.array([[STD**2]]))
    params = {"line": best_lines(world, kind), "r": exact_r(SCHEDULE)}
    bound = VariationalBound(WithVariance(), SCHEDULE, kind, "learned")
    x0 = MEAN + STD * np.array([-1.0, 1.0])
    total = bound.prior(x0[:, None]) + expected(bound, params, x0).sum(axis=0)
    chain = LinearGaussianChain.reverse(SCHEDULE, MEAN, STD**2)
    np.testing.assert_allclose(total, -chain.elbo(x0), rtol=1e-9)
    left = SCHEDULE.alpha_bar[-1]
    end = Gaussian(np.array([np.sqrt(left) * MEAN]), np.array([[1 + left * (STD**2 - 1)]]))
    lost = end.kl(Gaussian(np.zeros(1), np.eye(1)))
    assert total.mean() == pytest.approx(world.entropy + lost, rel=1e-9)


@each_kind
def test_at_the_exact_reverse_kernel_nothing_moves(kind):
    world = Gaussian(np.array([MEAN]), np.array([[STD**2]]))
    params = {"line": best_lines(world, kind), "r": exact_r(SCHEDULE)}
    bound = VariationalBound(WithVariance(), SCHEDULE, kind, "learned")
    choice, t = signs(2), np.arange(1, 9)
    many = (np.tile(MEAN + STD * choice[:, :1], (8, 1)), np.tile(choice[:, 1:], (8, 1)))

    def gradient(p):
        grads = bound.backward(np.ones(32), bound.value(p, *many, np.repeat(t, 4)))
        return np.stack([grads["line"]["slope"], grads["line"]["offset"], grads["r"]])[:, 1:]

    size = np.abs(gradient(tree.map(lambda a: 1.1 * a + 0.2, params)))
    assert size.min() > 0
    assert np.max(np.abs(gradient(params)) / size) < 1e-9


def some_bound(kind, variance, bins, schedule=SCHEDULE):
    """Return a bound of a small network, and its parameters."""
    network = TimeMLP(3, 5, 1, embedding=4)
    model = TwoHeads(network, network) if variance == "learned" else network
    return VariationalBound(model, schedule, kind, variance, bins), some(model, Noise(1))


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


def test_the_ends_of_a_learnt_variance_are_the_two_fixed_ones():
    x, bins = np.zeros((1, 3)), Bins(5)

    class Ends:
        def __init__(self, r):
            self.r = r

        def forward(self, params, x, t):
            return np.concatenate([x, self.r + 0 * x], axis=-1), None

    for t in range(1, 9):
        low, middle, high = (
            VariationalBound(Ends(r), SCHEDULE, variance="learned", bins=bins).reverse({}, x, t)[1][
                0, 0
            ]
            for r in (-1, 0, 1)
        )
        beta, smallest = SCHEDULE.beta[t], SCHEDULE.posterior_var[max(t, 2)]
        np.testing.assert_allclose([low, high], np.log([smallest, beta]), rtol=1e-12)
        assert middle == pytest.approx(0.5 * (low + high))
    bound = VariationalBound(Ends(-1), SCHEDULE, variance="learned", first_var=1e-3)
    assert bound.reverse({}, x, 1)[1][0, 0] == pytest.approx(np.log(1e-3))


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


@pytest.mark.parametrize("kind", ["noise", "data", "v"])
@given(seed=seeds)
def test_the_hybrid_loss_teaches_the_mean_by_the_simple_and_the_variance_by_the_bound(kind, seed):
    """Without the stop, the bound's gradient would reach the prediction as well."""
    bound, params = some_bound(kind, "learned", Bins(5))
    rng = np.random.default_rng(seed)
    data, place = rng.choice(Bins(5).levels, size=(6, 3)), Noise(seed)
    hybrid, dloss = Hybrid(bound, 0.01), rng.normal(size=6)
    terms, cache = hybrid.forward(params, data, place)
    grads = hybrid.backward(dloss, cache)
    simple = Denoising(bound.model.prediction, SCHEDULE, kind)
    alone, simple_cache = simple.forward(params["prediction"], data, place)
    np.testing.assert_allclose(terms["simple"], alone["loss"], rtol=1e-10)
    of_simple = simple.backward(dloss, simple_cache)
    full, bound_cache = bound.forward(params, data, place)
    np.testing.assert_allclose(terms["bound"], full["loss"], rtol=1e-12)
    np.testing.assert_allclose(terms["loss"], terms["simple"] + 0.01 * full["loss"], rtol=1e-12)
    of_bound = bound.backward(0.01 * dloss, bound_cache)
    for name, exact in (("prediction", of_simple), ("variance", of_bound["variance"])):
        for a, b in zip(tree.leaves(grads[name]), tree.leaves(exact), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * np.abs(b).max())
    moved = tree.dot(of_bound["prediction"], of_bound["prediction"])
    assert moved > 0


def test_two_heads_are_witnessed_and_give_back_the_gradient_of_x():
    network = TimeMLP(3, 5, 1, embedding=4)
    heads = TwoHeads(network, network)
    params, x = some(heads, Noise(0)), np.ones((2, 3))
    y, cache = heads.forward(params, x, np.array([1, 2]))
    assert y.shape == (2, 6)
    dx, _ = heads.backward(np.ones_like(y), cache)
    parts = [network.forward(params[n], x, np.array([1, 2])) for n in ("prediction", "variance")]
    exact = sum(network.backward(np.ones((2, 3)), c)[0] for _, c in parts)
    np.testing.assert_allclose(dx, exact)


def test_images_have_their_variances_in_a_second_half_of_the_channels():
    network = TimeMLP(8, 5, 1, embedding=4)
    bound = VariationalBound(TwoHeads(network, network), cosine(5), "v", "learned", Bins(3))
    params = some(bound.model, Noise(0))
    data = np.random.default_rng(0).choice(Bins(3).levels, size=(4, 2, 2, 2))
    rng = np.random.default_rng(1)
    assert witnessed(bound, params, data, Noise(2), rng) < 1e-12
    assert bound.reverse(params, data, 3)[1].shape == data.shape


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


def test_float32_stays_float32_and_near_float64():
    bound, params = some_bound("noise", "learned", Bins(17), linear(50, 1e-3, 0.1))
    hybrid = Hybrid(bound)
    data = np.random.default_rng(0).choice(Bins(17).levels, size=(40, 3))
    exact = hybrid.forward(params, data, Noise(0))[0]
    small = tree.map(lambda a: a.astype(np.float32), params)
    terms, cache = hybrid.forward(small, data.astype(np.float32), Noise(0))
    grads = hybrid.backward(np.ones(40, np.float32), cache)
    found = [*terms.values(), *tree.leaves(grads)]
    assert {a.dtype for a in found} == {np.dtype(np.float32)}
    np.testing.assert_allclose(terms["bound"], exact["bound"], rtol=1e-3, atol=0.05)


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
