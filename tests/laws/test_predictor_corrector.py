"""The predictor-corrector: its printed algorithms, its orders, its norms and its last line."""

import numpy as np
import pytest

from refgen import check
from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.processes import linear, stride
from refgen.processes.discrete import of_noise_levels, of_schedule
from refgen.processes.path import EDM, VP
from refgen.samplers.ancestral import sample_ancestral
from refgen.samplers.langevin import stationary_variance
from refgen.samplers.predictor_corrector import NORMS, PREDICTORS, sample_predictor_corrector
from tests.laws.affine import moments, off
from tests.laws.paths import BLOBS, ENDS, PATHS, WORLD, marginal, noise_of

# times with noise about as large as data
BUSY = dict.fromkeys(PATHS, 0.4) | {"ve": 0.7, "edm": 0.1}


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


@pytest.mark.parametrize("last", [0, 2])
@pytest.mark.parametrize("norms", NORMS)
def test_the_predictor_corrector_of_vp_is_algorithms_3_and_5(norms, last):
    """Where the list ends above 0 no next step has an α for the last corrector: it is 1."""
    schedule = linear(6, 0.02, 0.5)
    path, beta, N, r = of_schedule(schedule), schedule.beta, 6, 0.2
    x = Noise(1).normal((5, 2))
    found = sample_predictor_corrector(
        noise_of(WORLD, path), x, path, Noise(2), times=range(N, last - 1, -1), ratio=r, norms=norms
    )
    for step, i in enumerate(range(N - 1, last - 1, -1)):
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
        alpha = 1 - beta[i] if i > last else 1.0
        eps = 2 * alpha * (r * of_z / of_g) ** 2
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
    """It ends at (LV.2)'s variances with ε = 2 r² b², off by O(r²), wherever it began."""
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
