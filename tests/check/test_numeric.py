"""The numerical gradient: its noise bounds its error, by every road it takes."""

import numpy as np
import pytest

from refgen.check.numeric import ENTRIES, choose_probes, differentiate, rounding_noise
from refgen.noise import Noise

EPS = np.finfo(float).eps


def gradient(f, x):
    rounding = np.full(len(f(x)), EPS * np.sum(1 + np.abs(x) ** 3))
    return differentiate(f, x, choose_probes(x.size, Noise(0)), rounding, Noise(0))


def smooth(x):
    return np.array([np.sum(np.sin(x) * np.exp(0.3 * x)), np.sum(x * x * x)])


def smooth_gradient(x):
    first = np.exp(0.3 * x) * (np.cos(x) + 0.3 * np.sin(x))
    return np.stack([first, 3 * x * x], axis=1)


@pytest.mark.parametrize("real", [False, True])
def test_the_noise_of_a_derivative_bounds_its_error(real):
    f = (lambda x: smooth(x).astype(float)) if real else smooth  # the cast refuses complex x
    for seed in range(50):
        x = 10 ** np.random.default_rng(seed).uniform(-2, 0.5) * np.random.default_rng(seed).normal(
            size=6
        )
        found = gradient(f, x)
        assert found.method == ("central difference" if real else "complex step")
        assert np.all(np.abs(found.value - smooth_gradient(x)) <= found.noise)
        assert np.max(found.noise) < (1e-7 if real else 1e-11)


def test_the_noise_of_a_complex_step_sees_cancellation():
    def nearly(x):  # sin(x₀), beside the difference of large numbers that is zero
        parts = np.sin(x) * np.cos(1.0) + np.cos(x) * np.sin(1.0)
        return np.array([np.sin(x[0]) + np.sum(1e8 * parts - 1e8 * np.sin(x + 1.0))])

    rng = np.random.default_rng(0)
    for _ in range(30):
        x = rng.normal(size=6)
        probes = choose_probes(x.size, Noise(0))
        found = differentiate(nearly, x, probes, np.array([1e8 * EPS]), Noise(0))
        assert found.method == "complex step"
        error = np.abs(found.value[:, 0] - np.where(np.arange(6) == 0, np.cos(x[0]), 0))
        assert np.max(error) > 1e-10
        assert np.all(error <= found.noise[:, 0])


def test_a_complex_step_that_only_agrees_within_noise_is_not_taken():
    def flat(x):  # a real part taken on the way: the complex step would be zero
        return np.array([1.0 + 1e-14 * np.sum(np.real(x))])

    found = gradient(flat, np.ones(3))
    assert found.method == "central difference"
    assert np.all(np.abs(found.value - 1e-14) <= found.noise)


def test_the_complex_step_is_refused_where_the_function_is_not_analytic():
    found = gradient(lambda x: np.array([np.sum(np.abs(x) ** 3)]), np.array([1.0, -0.5]))
    assert found.method == "central difference"
    assert np.allclose(found.value[:, 0], [3.0, -0.75], rtol=1e-9)


def test_a_kink_is_seen_at_the_point_and_not_beside_it():
    for distance, kinked in ((0.0, True), (1e-12, True), (1e-3, False), (-0.02, False)):
        found = gradient(lambda x: np.array([np.sum(np.abs(x))]), np.array([distance, 1.0]))
        assert found.kink.tolist() == [kinked, False]
        if not kinked:
            assert abs(found.value[0, 0] - np.sign(distance)) <= found.noise[0, 0] < 1e-8


def test_rounding_noise_is_that_of_the_path_and_not_its_shape():
    t = np.linspace(0, 1e-4, 200)
    for size in (1e-12, 1e-9, 1e-6):
        path = np.stack([np.exp(t), np.cos(t)], axis=1) + size * Noise(1).normal((200, 2))
        assert np.all((0.5 * size < rounding_noise(path)) & (rounding_noise(path) < 2 * size))


def test_a_large_array_is_probed_at_distinct_entries_and_along_unit_directions():
    small, large = choose_probes(ENTRIES, Noise(0)), choose_probes(2 * ENTRIES, Noise(0))
    assert (len(small.entries), len(small.directions)) == (ENTRIES, 0)
    assert (len(set(large.entries)), len(large.directions)) == (ENTRIES, 8)
    assert np.allclose(np.linalg.norm(large.directions, axis=1), 1)
    g = np.arange(2.0 * ENTRIES)
    along = [large.tangent(m, g) @ g for m in range(len(large))]
    assert np.allclose(large.project(g), along)
