"""The reverse SDE, Langevin's walks and the predictor-corrector, in exact worlds."""

from itertools import pairwise

import numpy as np
import pytest

from refgen import check
from refgen import ops as reference
from refgen.exact import Gaussian, Mixture
from refgen.noise import Noise
from refgen.processes import linear, stride
from refgen.processes.discrete import of_noise_levels, of_schedule
from refgen.processes.path import EDM, VE, VP, CosinePath, SubVP
from refgen.processes.schedule import geometric
from refgen.samplers.ancestral import sample_ancestral
from refgen.samplers.langevin import (
    sample_annealed_langevin,
    sample_langevin,
    stationary_variance,
)
from refgen.samplers.ode import solve
from refgen.samplers.predictor_corrector import NORMS, PREDICTORS, sample_predictor_corrector
from refgen.samplers.probability_flow import ProbabilityFlow
from refgen.samplers.sde import sample_reverse_sde
from tests.laws.affine import Tape, moments, off

WORLD = Gaussian(np.array([0.5, -0.3]), np.array([[0.6, 0.2], [0.2, 0.4]]))
BLOBS = Mixture(np.array([0.3, 0.7]), np.array([[-1.0], [1.0]]), np.array([0.09, 0.16]))
PATHS = {
    "vp": VP(),
    "sub-vp": SubVP(),
    "ve": VE(0.01, 8.0),
    "cosine": CosinePath(),
    "edm": EDM(8.0),
}
ENDS = dict.fromkeys(PATHS, (1.0, 0.05)) | {"cosine": (0.95, 0.05), "ve": (1.0, 0.5)}
BUSY = dict.fromkeys(PATHS, 0.4) | {
    "ve": 0.7,
    "edm": 0.1,
}  # times with noise about as large as data


def noise_of(world, path, seen=None):
    """Return the exact noise prediction; keep the times it is asked at."""

    def predict(x, t):
        if seen is not None:
            seen.append(t)
        a, b, _, _ = path.levels(t)
        return world.noise_mean(x, float(a), float(b))

    return predict


def marginal(world, path, t):
    """Return mean and covariance of a Gaussian world at a time of a path."""
    a, b, _, _ = path.levels(t)
    return a * world.mean, a * a * world.cov + b * b * np.eye(world.dim)


# The reverse SDE.


@pytest.mark.parametrize("eta", [0.5, 1.0, 1.4])
@pytest.mark.parametrize("name", PATHS)
def test_the_moments_of_the_reverse_sde_are_right_to_first_order(name, eta):
    """For any eta: a noise that the drift does not balance leaves an error that stays."""
    path, (start, end), sizes = PATHS[name], ENDS[name], [128, 256, 512]
    predict, errors = noise_of(WORLD, path), []
    for n in sizes:
        times = np.linspace(start, end, n + 1)
        found = moments(
            lambda x, ops, times=times: sample_reverse_sde(
                predict, x, path, Noise(0), times=times, eta=eta, ops=ops
            ),
            *marginal(WORLD, path, start),
        )
        errors.append(off(found, WORLD, *path.levels(end)[:2]))
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)


def carried(density, grid, path, times, eta):
    """Return the density after the walk, by the rule of trapezia: every step is m(x) + √v z."""
    predict, gap = noise_of(BLOBS, path), grid[1] - grid[0]
    for pair in pairwise(times):

        def step(x, ops, pair=pair):
            return sample_reverse_sde(predict, x, path, Noise(0), times=pair, eta=eta, ops=ops)

        rows = np.concatenate([np.zeros((3, 1)), grid[:, None]])
        ends = step(rows, Tape(1))  # row 2 is 0 with noise 1
        var, mean = (ends[2, 0] - ends[0, 0]) ** 2, ends[3:, 0]
        kernel = np.exp(-0.5 * (grid[:, None] - mean) ** 2 / var) / np.sqrt(2 * np.pi * var)
        density = kernel @ density * gap
    return density


@pytest.mark.parametrize("eta", [0.7, 1.0])
def test_the_density_of_a_mixture_is_carried_to_first_order(eta):
    """Not its moments alone: the distance of all of the density, with no draw."""
    path, end, grid, errors, sizes = VP(), 0.1, np.linspace(-5, 5, 500), [], [32, 64, 128]

    def exact(t):
        a, b, _, _ = path.levels(t)
        return np.exp(BLOBS.log_density(grid[:, None], a, b))

    for n in sizes:
        found = carried(exact(1.0), grid, path, np.linspace(1.0, end, n + 1), eta)
        errors.append(np.sum(np.abs(found - exact(end))) * (grid[1] - grid[0]))
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", PATHS)
def test_the_reverse_sde_without_noise_is_eulers_rule_on_the_flow(name):
    path, x, times = PATHS[name], Noise(1).normal((6, 1)), np.linspace(*ENDS[name], 12)
    predict = noise_of(BLOBS, path)
    found = sample_reverse_sde(predict, x, path, Noise(2), times=times, eta=0.0)
    euler = solve(ProbabilityFlow(path, predict), x, times, rule="euler")
    np.testing.assert_allclose(found, euler, rtol=1e-9)
    table = Tape(1)
    sample_reverse_sde(predict, x, path, Noise(2), times=times, eta=0.0, ops=table)
    assert not table.streams


@pytest.mark.parametrize("eta", [1.0, 0.5])
def test_the_step_is_that_of_the_reverse_sde(eta):
    """X − h (f x − ½ (1 + η²) g² score) + η g √h z, written out for VP: f = −½ β and g² = β."""
    path, x, t, s = VP(), Noise(4).normal((5, 1)), 0.7, 0.65
    a, b, _, _ = path.levels(t)
    score, beta, h = BLOBS.score(x, a, b), path.beta(t), t - s
    z = Noise(5).at("step", 0).normal(x.shape)
    drift = -0.5 * beta * x - 0.5 * (1 + eta**2) * beta * score
    expected = x - h * drift + eta * np.sqrt(beta * h) * z
    found = sample_reverse_sde(noise_of(BLOBS, path), x, path, Noise(5), times=[t, s], eta=eta)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_into_no_noise_nothing_is_drawn():
    path, x = VP(), Noise(4).normal((5, 1))
    predict = noise_of(BLOBS, path)
    last, before = (
        [sample_reverse_sde(predict, x, path, Noise(s), times=[0.1, end]) for s in (1, 2)]
        for end in (0.0, 0.01)
    )
    assert np.array_equal(*last)
    assert np.abs(before[0] - before[1]).max() > 0.01
    a, b, _, _ = path.levels(0.1)
    f, h = -0.5 * path.beta(0.1), 0.1
    expected = x - h * (f * x - path.beta(0.1) * BLOBS.score(x, a, b))
    np.testing.assert_allclose(last[0], expected, rtol=1e-10)


# Langevin.


@pytest.mark.parametrize("step", [0.05, 0.2, 0.45])
def test_plain_langevin_ends_at_its_stationary_variance(step):
    """s² / (1 − ε/2s²) in every direction: a factor 2 at the drift or the noise is far off."""
    found = moments(
        lambda x, ops: sample_langevin(
            WORLD.score, x, Noise(0), step=step, steps=int(40 / step), ops=ops
        ),
        np.array([5.0, 5.0]),
        np.eye(2),
    )
    values, vectors = np.linalg.eigh(WORLD.cov)
    ends = [stationary_variance(v, step) for v in values]
    np.testing.assert_allclose(found[0], WORLD.mean, atol=1e-8)
    np.testing.assert_allclose(found[1], vectors * ends @ vectors.T, atol=1e-8)


def test_plain_langevin_errs_by_the_order_of_its_step_and_leaves_from_twice_the_variance_on():
    steps = np.array([0.4, 0.2, 0.1, 0.05, 0.025])
    errors = [stationary_variance(2.0, e) - 2.0 for e in steps]
    assert check.order_of_convergence(1 / steps, errors) == pytest.approx(1, abs=0.1)
    assert np.isinf(stationary_variance(0.5, 1.0))
    unit = Gaussian(np.zeros(1), np.eye(1))
    for step, goes in ((1.9, False), (2.1, True)):
        assert np.isinf(stationary_variance(1.0, step)) == goes
        _, cov = moments(
            lambda x, ops, step=step: sample_langevin(
                unit.score, x, Noise(0), step=step, steps=300, ops=ops
            ),
            np.zeros(1),
            np.eye(1),
        )
        assert (cov[0, 0] > 1e6) == goes


def test_small_steps_alone_do_not_sample():
    """With ε = 1/K² and K steps nothing is forgotten: K ε must grow as well."""
    unit, K = Gaussian(np.zeros(1), np.array([[0.5]])), 300
    for step, var in ((1 / K**2, 3.0), (5 / K, 0.5)):
        _, cov = moments(
            lambda x, ops, step=step: sample_langevin(
                unit.score, x, Noise(0), step=step, steps=K, ops=ops
            ),
            np.zeros(1),
            3.0 * np.eye(1),
        )
        assert cov[0, 0] == pytest.approx(var, abs=0.05)


def test_annealed_langevin_is_algorithm_1():
    """Its lines as they are printed, draw by draw."""
    sigmas, eps, T, x = [4.0, 2.0, 1.0], 0.3, 4, Noise(1).normal((5, 1))
    found = sample_annealed_langevin(
        lambda x, sigma: BLOBS.score(x, 1.0, sigma), x, sigmas, Noise(2), step=eps, inner=T
    )
    for i in range(len(sigmas)):
        alpha = eps * sigmas[i] ** 2 / sigmas[-1] ** 2
        for t in range(T):
            z = Noise(2).at("level", i, "step", t).normal(x.shape)
            x = x + alpha / 2 * BLOBS.score(x, 1.0, sigmas[i]) + np.sqrt(alpha) * z
    np.testing.assert_allclose(found, x, rtol=1e-10)


def test_annealed_langevin_ends_at_the_stationary_variance_of_its_last_level():
    """With ε = ϵ/2 there: data of variance v with noise of σ_L², and the bias of the step."""
    sigmas, eps = geometric(6, 8.0, 0.5), 0.2
    world = Gaussian(np.array([0.7]), np.array([[0.6]]))
    found = moments(
        lambda x, ops: sample_annealed_langevin(
            lambda x, sigma: world.score(x, 1.0, sigma), x, sigmas, Noise(0), step=eps, ops=ops
        ),
        np.array([20.0]),
        np.eye(1),
    )
    assert found[0][0] == pytest.approx(0.7, abs=1e-4)
    assert found[1][0, 0] == pytest.approx(stationary_variance(0.6 + 0.25, eps / 2), abs=1e-4)


def test_at_every_level_drift_and_noise_keep_their_ratio():
    """A single datum is approached alike at all levels: after T steps each, x/σ is the same."""
    eps, T, spreads = 0.4, 200, []
    for sigma in (5.0, 1.0, 0.2):
        _, cov = moments(
            lambda x, ops, sigma=sigma: sample_annealed_langevin(
                lambda x, s: -x / s**2, x, [sigma], Noise(0), step=eps * sigma**2, inner=T, ops=ops
            ),
            np.zeros(1),
            np.zeros((1, 1)),
        )
        spreads.append(cov[0, 0] / sigma**2)
    np.testing.assert_allclose(spreads, 1 / (1 - eps / 4), rtol=1e-9)


def test_the_last_line_of_annealed_langevin_is_the_mean_of_the_data():
    x, sigmas = Noise(1).normal((5, 1)), [2.0, 0.5]

    def score(x, sigma):
        return BLOBS.score(x, 1.0, sigma)

    noisy, clean = (
        sample_annealed_langevin(score, x, sigmas, Noise(3), step=0.1, inner=3, denoise=d)
        for d in (False, True)
    )
    np.testing.assert_allclose(clean, BLOBS.data_mean(noisy, 1.0, 0.5), rtol=1e-10)


def test_annealing_recovers_the_weights_that_plain_langevin_misses():
    """Two modes ten standard deviations apart, weights 1/5 and 4/5; both walks take 1000 steps."""
    modes = Mixture(np.array([0.2, 0.8]), np.array([[-5.0, -5.0], [5.0, 5.0]]), np.ones(2))
    n = 2000
    x = 16 * Noise(1).uniform((n, 2)) - 8
    plain = sample_langevin(modes.score, x, Noise(2), step=0.05, steps=1000)
    annealed = sample_annealed_langevin(
        lambda x, sigma: modes.score(x, 1.0, sigma),
        x,
        geometric(10, 20.0, 1.0),
        Noise(3),
        step=0.1,
        inner=100,
    )
    first = [float(np.mean(found @ np.ones(2) < 0)) for found in (plain, annealed)]
    assert abs(first[0] - 0.2) > 0.2
    assert abs(first[1] - 0.2) < 0.05
    for found, var in ((plain, 1.0), (annealed, 2.0)):  # the modes themselves are found by both
        right = found[found @ np.ones(2) > 0]
        assert np.abs(right.mean(0) - 5.0).max() < 0.15
        assert np.abs(right.var(0) / stationary_variance(var, 0.05) - 1).max() < 0.2


# Predictor and corrector.


def test_the_predictor_corrector_of_ve_is_algorithms_2_and_4():
    """As printed, with the norms of each example; σ_1 < ... < σ_N, from N down."""
    sigma = np.array([np.nan, 0.2, 0.5, 1.5, 4.0])  # σ_1 .. σ_4
    N, M, r, x = 4, 2, 0.2, 4 * Noise(1).normal((5, 2))
    path = of_noise_levels(sigma[:0:-1])  # time is the index i

    found = sample_predictor_corrector(
        noise_of(WORLD, path),
        x,
        path,
        Noise(2),
        times=range(N, 0, -1),
        corrections=M,
        ratio=r,
        norms="example",
    )
    for step, i in enumerate(range(N - 1, 0, -1)):
        gap = sigma[i + 1] ** 2 - sigma[i] ** 2
        z = Noise(2).at("predictor", step).normal(x.shape)
        x = x + gap * WORLD.score(x, 1.0, sigma[i + 1]) + np.sqrt(gap) * z
        for j in range(M):
            z = Noise(2).at("corrector", step, j).normal(x.shape)
            g = WORLD.score(x, 1.0, sigma[i])
            lengths = [np.sqrt(np.sum(v * v, axis=1))[:, None] for v in (z, g)]
            eps = 2 * (r * lengths[0] / lengths[1]) ** 2
            x = x + eps * g + np.sqrt(2 * eps) * z
    np.testing.assert_allclose(found, x, rtol=1e-9)


@pytest.mark.parametrize("norms", NORMS)
def test_the_predictor_corrector_of_vp_is_algorithms_3_and_5(norms):
    schedule = linear(6, 0.02, 0.5)
    path, beta, N, r = of_schedule(schedule), schedule.beta, 6, 0.2
    x = Noise(1).normal((5, 2))
    found = sample_predictor_corrector(
        noise_of(WORLD, path), x, path, Noise(2), times=range(N, -1, -1), ratio=r, norms=norms
    )
    for step, i in enumerate(range(N - 1, -1, -1)):
        score = WORLD.score(x, schedule.signal(i + 1), schedule.spread(i + 1))
        z = Noise(2).at("predictor", step).normal(x.shape)
        x = (2 - np.sqrt(1 - beta[i + 1])) * x + beta[i + 1] * score
        if i == 0:
            break  # into no noise: none is added, and there is no score to correct by
        x = x + np.sqrt(beta[i + 1]) * z
        z = Noise(2).at("corrector", step, 0).normal(x.shape)
        g = WORLD.score(x, schedule.signal(i), schedule.spread(i))
        of_z, of_g = (np.sqrt(np.sum(v * v, axis=1))[:, None] for v in (z, g))
        if norms == "batch":
            of_z, of_g = of_z.mean(), of_g.mean()
        if norms == "typical":
            of_z, of_g = np.sqrt(2), np.sqrt(2) / schedule.spread(i)
        eps = 2 * (1 - beta[i]) * (r * of_z / of_g) ** 2
        x = x + eps * g + np.sqrt(2 * eps) * z
    np.testing.assert_allclose(found, x, rtol=1e-9)


def test_the_ancestral_predictor_is_ancestral_sampling_on_vp():
    schedule, times = linear(60, 1e-3, 0.3), stride(60, 9)
    path = of_schedule(schedule)
    predict = noise_of(WORLD, path)
    one, other = (
        moments(sample, np.zeros(2), np.eye(2))
        for sample in (
            lambda x, ops: sample_predictor_corrector(
                predict,
                x,
                path,
                Noise(0),
                times=times,
                predictor="ancestral",
                corrections=0,
                ops=ops,
            ),
            lambda x, ops: sample_ancestral(predict, x, schedule, Noise(0), times=times, ops=ops),
        )
    )
    np.testing.assert_allclose(one[0], other[0], rtol=1e-9)
    np.testing.assert_allclose(one[1], other[1], rtol=1e-9)


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("name", PATHS)
def test_a_predictor_is_of_first_order(name, predictor):
    path, (start, end), sizes = PATHS[name], ENDS[name], [128, 256, 512]
    predict, errors = noise_of(WORLD, path), []
    for n in sizes:
        found = moments(
            lambda x, ops, n=n: sample_predictor_corrector(
                predict,
                x,
                path,
                Noise(0),
                times=np.linspace(start, end, n + 1),
                predictor=predictor,
                corrections=0,
                ops=ops,
            ),
            *marginal(WORLD, path, start),
        )
        errors.append(off(found, WORLD, *path.levels(end)[:2]))
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)


def corrected(ratio, corrections, name):
    """Return the moments after one predictor step, of no use here, and many corrections."""
    path, t, s = PATHS[name], BUSY[name] + 0.1, BUSY[name]
    return moments(
        lambda x, ops: sample_predictor_corrector(
            noise_of(WORLD, path),
            x,
            path,
            Noise(0),
            times=[t, s],
            ratio=ratio,
            corrections=corrections,
            ops=ops,
        ),
        np.array([3.0, -3.0]),
        2 * np.eye(2),
    ), path.levels(s)


@pytest.mark.parametrize("name", PATHS)
def test_the_corrector_leaves_the_marginal_as_it_is_as_its_steps_go_to_0(name):
    """It ends at (LA.2)'s variances with ε = 2 r² b², off by O(r²), wherever it began."""
    ratios, errors = [0.4, 0.28, 0.2], []
    for ratio in ratios:
        (mean, cov), (a, b, _, _) = corrected(ratio, 700, name)
        values, vectors = np.linalg.eigh(a * a * WORLD.cov + b * b * np.eye(2))
        ends = [stationary_variance(v, 2 * ratio**2 * b**2) for v in values]
        np.testing.assert_allclose(mean, a * WORLD.mean, atol=1e-6)
        np.testing.assert_allclose(cov, vectors * ends @ vectors.T, rtol=1e-5)
        errors.append(off((mean, cov), WORLD, a, b))
    assert check.order_of_convergence([1 / r for r in ratios], errors) == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_corrections_mend_what_a_coarse_predictor_does(predictor):
    path, times, errors = VP(), np.linspace(1.0, 0.3, 12), []
    for corrections in (0, 2, 10):
        found = moments(
            lambda x, ops, corrections=corrections: sample_predictor_corrector(
                noise_of(WORLD, path),
                x,
                path,
                Noise(0),
                times=times,
                predictor=predictor,
                corrections=corrections,
                ratio=0.2,
                ops=ops,
            ),
            *marginal(WORLD, path, 1.0),
        )
        errors.append(off(found, WORLD, *path.levels(0.3)[:2]))
    assert errors[1] < 0.8 * errors[0]
    assert errors[2] < 0.4 * errors[0]


def test_the_norms_of_each_example_lead_elsewhere_and_those_of_the_batch_do_not():
    """In d = 8 the variance grows by (1 + 2/d)² = 1.56; the mean of the batch keeps it."""
    d, path = 8, EDM(1.0)
    world = Gaussian(np.zeros(d), 0.1 * np.eye(d))
    true, x = 0.1 + 0.99**2, Noise(1).normal((1500, d))
    for norms, factor in (("typical", 1.0), ("batch", 1.0), ("example", (1 + 2 / d) ** 2)):
        found = sample_predictor_corrector(
            noise_of(world, path),
            x,
            path,
            Noise(2),
            times=[1.0, 0.99],
            ratio=0.12,
            corrections=250,
            norms=norms,
        )
        assert found.var() / true == pytest.approx(factor, rel=0.05), norms


def test_the_norms_of_a_batch_make_its_examples_depend_on_each_other():
    path, x = VP(), Noise(1).normal((6, 2))
    for norms in NORMS:
        whole, part = (
            sample_predictor_corrector(
                noise_of(WORLD, path), x[:k], path, Noise(2), times=[1.0, 0.5, 0.2], norms=norms
            )
            for k in (6, 3)
        )
        assert np.array_equal(whole[:3], part) == (norms != "batch")


def test_a_step_predicts_first_and_corrects_where_it_has_arrived():
    seen, x = [], np.ones((1, 2))
    predict = noise_of(WORLD, VP(), seen)
    for times, denoise, expected in (
        ([1.0, 0.6, 0.2], False, [1.0, 0.6, 0.6, 0.6, 0.2, 0.2]),
        ([1.0, 0.6, 0.2], True, [1.0, 0.6, 0.6, 0.6, 0.2, 0.2, 0.2]),
        ([1.0, 0.6, 0.0], True, [1.0, 0.6, 0.6, 0.6]),
    ):
        seen.clear()
        sample_predictor_corrector(
            predict, x, VP(), Noise(0), times=times, corrections=2, denoise=denoise
        )
        assert seen == expected


def test_the_last_line_of_the_predictor_corrector_is_the_mean_of_the_data():
    path, x = VP(), Noise(1).normal((5, 1))
    noisy, clean = (
        sample_predictor_corrector(
            noise_of(BLOBS, path), x, path, Noise(3), times=[1.0, 0.5, 0.1], denoise=d
        )
        for d in (False, True)
    )
    a, b, _, _ = path.levels(0.1)
    np.testing.assert_allclose(clean, BLOBS.data_mean(noisy, a, b), rtol=1e-9)


def test_one_step_to_no_noise_is_the_estimate_of_the_data_for_the_ancestral_predictor():
    path, x = VP(), Noise(1).normal((5, 1))
    found = sample_predictor_corrector(
        noise_of(BLOBS, path), x, path, Noise(3), times=[0.8, 0.0], predictor="ancestral"
    )
    a, b, _, _ = path.levels(0.8)
    np.testing.assert_allclose(found, BLOBS.data_mean(x, a, b), rtol=1e-9)


def test_a_walk_draws_through_the_table_it_is_given():
    """What a backend would be asked for, and no page of the reference beside it."""

    class Counting:
        def __init__(self):
            self.asked = []

        def __getattr__(self, name):
            self.asked.append(name)
            return getattr(reference, name)

    x, path = np.ones((2, 2), np.float32), VP()
    predict = noise_of(WORLD, path)

    def single(x, t):
        return predict(x, t).astype(np.float32)

    for sample in (
        lambda ops: sample_langevin(lambda x: -x, x, Noise(0), step=0.1, steps=2, ops=ops),
        lambda ops: sample_annealed_langevin(
            lambda x, s: -x, x, [1.0], Noise(0), step=0.1, inner=2, ops=ops
        ),
        lambda ops: sample_reverse_sde(single, x, path, Noise(0), times=[1.0, 0.5, 0.1], ops=ops),
        lambda ops: sample_predictor_corrector(
            single, x, path, Noise(0), times=[1.0, 0.5], ops=ops
        ),
    ):
        table = Counting()
        found = sample(table)
        assert table.asked.count("langevin_step_drawn") == 2
        assert found.dtype == np.float32


def test_what_cannot_be_walked_is_refused():
    x, path = np.ones((1, 2)), VP()
    predict = noise_of(WORLD, path)
    for sampler in (sample_reverse_sde, sample_predictor_corrector):
        for times in ([1.0], [0.0, 1.0], [1.0, 1.0]):
            with pytest.raises(ValueError, match="sampling times fall"):
                sampler(predict, x, path, Noise(0), times=times)
        for wrong, start in ((CosinePath(), 1.0), (path, 0.0)):
            with pytest.raises(ValueError, match="start where"):
                sampler(predict, x, wrong, Noise(0), times=[start, start - 0.5])
    with pytest.raises(ValueError, match="b = 0 at the last"):
        sample_predictor_corrector(predict, x, path, Noise(0), times=[0.5, 0.0, -0.1])
    with pytest.raises(ValueError, match="eta is 0 or more"):
        sample_reverse_sde(predict, x, path, Noise(0), times=[1.0, 0.5], eta=-1.0)
    for word in ("predictor", "norms"):
        with pytest.raises(ValueError, match=f"unknown {word} 'other'"):
            sample_predictor_corrector(
                predict, x, path, Noise(0), times=[1.0, 0.5], **{word: "other"}
            )
    with pytest.raises(ValueError, match="corrections"):
        sample_predictor_corrector(predict, x, path, Noise(0), times=[1.0, 0.5], corrections=-1)
    for sigmas in ([], [0.5, 1.0], [1.0, 0.0]):
        with pytest.raises(ValueError, match="noise levels fall"):
            sample_annealed_langevin(lambda x, s: -x, x, sigmas, Noise(0), step=0.1)
    with pytest.raises(ValueError, match="0 or more"):
        sample_langevin(lambda x: -x, x, Noise(0), step=-0.1, steps=1)
