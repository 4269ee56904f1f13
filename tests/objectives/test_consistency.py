"""Consistency models: their boundary, what makes their loss 0, and who teaches whom."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import tree
from refgen.check import complex_step, order_of_convergence
from refgen.exact import Gaussian
from refgen.models import TimeMLP
from refgen.noise import Noise
from refgen.objectives.consistency import Consistency, curriculum, karras_levels
from refgen.objectives.denoising import Denoising, LogNormalTimes
from refgen.objectives.precondition import Preconditioned
from refgen.processes.path import EDM
from tests.objectives.models import Line, outer, signs, some, witness, witnessed

pytestmark = pytest.mark.tiny
seeds = st.integers(0, 2**31)
MEAN, STD, FIRST = 0.4, 0.6, 0.05
LEVELS = karras_levels(6, FIRST, 3.0)
WORLD = Gaussian(np.array([MEAN]), np.array([[STD**2]]))


def denoise(x, sigma):
    """Return E[data | x] of the Gaussian world."""
    return WORLD.data_mean(x, 1.0, sigma)


class Flow:
    """The exact end of every path of the Gaussian world's flow."""

    def __init__(self, std=STD):
        self.var = std**2

    def forward(self, params, x, sigma):
        """Return (f, None)."""
        scale = np.sqrt((self.var + FIRST**2) / (self.var + sigma**2))[:, None]
        return MEAN + scale * (x - MEAN), None


@pytest.mark.parametrize(("rule", "order"), [("euler", 2), ("heun", 3)])
def test_the_exact_flow_has_no_loss_but_that_of_the_teachers_step(rule, order):
    """One step of Euler's rule errs by h², one of Heun's by h³; the loss is the square."""
    x, errors, sizes = np.linspace(-2, 3, 7)[:, None], [], [8, 16, 32, 64]
    for count in sizes:
        levels = (FIRST, 2.0 - 1.0 / count, 2.0)
        loss = Consistency(Flow(), levels, denoise, rule, "squared")
        found = loss.value({}, x, 0.3 * x, np.full(7, 1))[0]["loss"]
        errors.append(np.sqrt(found.max()))
    assert order_of_convergence(sizes, errors) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("distance", ["huber", "squared"])
@pytest.mark.parametrize("taught", ["euler", "heun", None])
def test_where_the_paths_are_straight_the_exact_model_has_no_loss_at_all(taught, distance):
    """With one datum −noise/σ is the score itself, so training needs no teacher and no limit."""

    def one_datum(x, sigma):
        return MEAN + 0 * x

    class Straight:
        def forward(self, params, x, sigma):
            return MEAN + FIRST / sigma[:, None] * (x - MEAN), None

    teacher = one_datum if taught else None
    loss = Consistency(Straight(), LEVELS, teacher, taught or "heun", distance, "gap")
    terms, _ = loss.forward({}, np.full((40, 1), MEAN), Noise(0))
    assert np.max(terms["loss"]) < 1e-13
    curved = Consistency(Flow(0.3), LEVELS, teacher, taught or "heun", distance)
    assert np.max(curved.forward({}, np.full((40, 1), MEAN), Noise(0))[0]["loss"]) > 1e-3


class Affine(Line):
    """A linear predictor whose table is indexed by the level."""

    def forward(self, params, x, sigma):
        """Return (y, cache)."""
        return super().forward(params, x, np.searchsorted(LEVELS, sigma - 1e-9))


def gradient(loss, params, data, drawn, n, weights, **given):
    """Return the gradient of a weighted sum of losses as one vector."""
    _, cache = loss.value(params, data, drawn, n, **given)
    return np.concatenate([g.ravel() for g in tree.leaves(loss.backward(weights, cache))])


def test_training_and_distilling_an_affine_model_have_one_gradient_on_average():
    """The noise's mean given x is the score's, so a pair of data and noise is Euler's step."""
    rng, choice = np.random.default_rng(0), signs(2)
    params = {name: rng.normal(size=6) for name in ("slope", "offset")}
    data, drawn = MEAN + STD * choice[:, :1], choice[:, 1:]
    for weight in ("one", "gap"):
        pair = [
            Consistency(Affine(), LEVELS, teacher, "euler", "squared", weight)
            for teacher in (None, denoise)
        ]
        for n in range(5):
            found = [
                gradient(one, params, data, drawn, np.full(4, n), np.full(4, 0.25)) for one in pair
            ]
            np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)
            assert np.max(np.abs(found[0])) > 0.01


def test_for_any_model_the_two_gradients_meet_at_second_order():
    """Each is of the size h; they differ by h², the curvature of f⁻ times the noise's variance."""
    model = Preconditioned(TimeMLP(1, 6, 1, embedding=4), STD, FIRST)
    params = some(model, Noise(0))
    points = np.linspace(-8, 8, 80)
    shares = np.exp(-0.5 * points**2) / np.sqrt(2 * np.pi) * (points[1] - points[0])
    data, drawn, weights = outer(MEAN + STD * points, shares, points, shares)
    apart, size, counts = [], [], [4096, 8192, 16384]
    for count in counts:
        levels = (FIRST, 2.0 - 1.0 / count, 2.0)
        n = np.ones(len(data), int)
        found = [
            gradient(
                Consistency(model, levels, teacher, "euler", "squared"),
                params,
                data[:, None],
                drawn[:, None],
                n,
                weights,
            )
            for teacher in (None, denoise)
        ]
        apart.append(np.linalg.norm(found[0] - found[1]))
        size.append(np.linalg.norm(found[1]))
    assert order_of_convergence(counts, size) == pytest.approx(1, abs=0.1)
    assert order_of_convergence(counts, apart) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("teacher", [None, denoise], ids=["training", "distillation"])
@pytest.mark.parametrize("distance", ["huber", "squared"])
@pytest.mark.parametrize("weight", ["one", "gap"])
@given(seed=seeds)
def test_the_gradient_is_the_adjoint_of_the_loss_with_its_target_held_fixed(
    teacher, distance, weight, seed
):
    rng = np.random.default_rng(seed)
    model = Preconditioned(TimeMLP(1, 6, 1, embedding=4), STD, FIRST)
    loss = Consistency(model, LEVELS, teacher, "heun", distance, weight, c=0.1)
    params, average = some(model, Noise(seed)), some(model, Noise(seed).at("average"))
    data, place = rng.normal(size=(4, 1)), Noise(seed)
    for target in (average, params):
        assert witnessed(loss, params, data, place, rng, target=target) < 1e-12
    own, held = (loss.forward(params, data, place, target=t) for t in (None, params))
    np.testing.assert_array_equal(own[0]["loss"], held[0]["loss"])
    grads = [loss.backward(np.ones(4), cache) for _, cache in (own, held)]
    for a, b in zip(*map(tree.leaves, grads), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gradient_in_the_target_too_would_be_another():
    rng = np.random.default_rng(0)
    model = Preconditioned(TimeMLP(1, 6, 1, embedding=4), STD, FIRST)
    loss = Consistency(model, LEVELS, distance="squared")
    params, data = some(model, Noise(0)), rng.normal(size=(4, 1))

    def moving(p):
        terms, cache = loss.forward(p, data, Noise(0))
        return terms["loss"], cache

    assert witness(moving, loss.backward, params, rng) > 1e-3


class Flatter:
    """The exact end of every path but for a power p of its slope, 1 if exact, flatter above."""

    def forward(self, params, x, sigma):
        """Return (f, cache)."""
        log_slope = 0.5 * np.log((STD**2 + FIRST**2) / (STD**2 + sigma**2))[:, None]
        moved = np.exp(params["p"] * log_slope) * (x - MEAN)
        return MEAN + moved, log_slope * moved

    def backward(self, dy, cache):
        """Return (dx, grads); nobody asks for dx."""
        return None, {"p": np.sum(dy * cache, keepdims=True)[0]}


@pytest.mark.parametrize("steps", [100, 10_000])
def test_with_its_target_fixed_training_ends_at_the_flow_and_else_at_a_flatter_model(steps):
    """However fine the grid: a gradient in f⁻ too damps the random part of a step."""
    levels, choice = (FIRST, 2.0 - 1.0 / steps, 2.0), signs(2)
    loss = Consistency(Flatter(), levels, distance="squared")
    case = MEAN + STD * choice[:, :1], choice[:, 1:], np.ones(4, int)

    def held(p):
        _, cache = loss.value({"p": np.array([p])}, *case)
        return loss.backward(np.ones(4), cache)["p"][0]

    def moving(p):
        def both(p):
            return loss.value({"p": p}, *case)[0]["loss"].sum()

        return complex_step(both, [np.array([p])], [np.ones(1)])

    assert held(0.99) < 0 < held(1.01)
    assert moving(1.1) < 0 < moving(1.2)


@given(seed=seeds)
def test_at_the_least_level_the_model_is_the_identity_whatever_the_network(seed):
    model = Preconditioned(TimeMLP(3, 6, 1, embedding=4), STD, FIRST)
    x = np.random.default_rng(seed).normal(size=(4, 3))
    y, _ = model.forward(some(model, Noise(seed)), x, np.full(4, FIRST))
    np.testing.assert_array_equal(y, x)


@given(seed=seeds, first=st.sampled_from([0.0, FIRST]))
def test_a_preconditioned_network_is_witnessed_in_parameters_and_input(seed, first):
    rng = np.random.default_rng(seed)
    model = Preconditioned(TimeMLP(3, 6, 1, embedding=4), STD, first)
    x, sigma, dy = rng.normal(size=(4, 3)), 0.1 + rng.random(4), rng.normal(size=(4, 3))

    def forward(p):
        y, cache = model.forward(p["model"], p["x"], sigma)
        return np.sum(y * dy, axis=1), cache

    def backward(dloss, cache):
        dx, grads = model.backward(dloss[:, None] * dy, cache)
        return {"model": grads, "x": dx}

    params = {"model": some(model, Noise(seed)), "x": x}
    assert witness(forward, backward, params, rng) < 1e-12


def test_a_preconditioned_network_sees_and_has_to_say_numbers_of_size_1():
    """Input and target have variance 1 at every level; the skip is the best linear guess."""

    class Seen:
        def forward(self, params, x, t):
            seen.append((x, t))
            return 0 * x, None

    choice, seen = signs(2), []
    for std, sigma in ((0.5, 0.01), (0.5, 3.0), (2.0, 0.7)):
        data, drawn = std * choice[:, :1], choice[:, 1:]
        x, level = data + sigma * drawn, np.full(4, sigma)
        skip, cache = Preconditioned(Seen(), std).forward({}, x, level)
        assert seen[-1][0].var() == pytest.approx(1)
        np.testing.assert_allclose(seen[-1][1], 250 * np.log(sigma))
        out = cache[1].ravel()[0]
        assert np.mean(((data - skip) / out) ** 2) == pytest.approx(1)
        assert np.mean((data - skip) * x) == pytest.approx(0, abs=1e-12)


def test_edms_loss_is_the_unweighted_error_of_the_inner_network():
    """The weight (σ² + σ_d²) / (σ σ_d)² on the data is 1/c_out²; for σ_d = 1 it is the weight v."""
    inner = TimeMLP(2, 6, 1, embedding=4)
    model, path = Preconditioned(inner, 1.0), EDM(80.0)
    loss = Denoising(model, path, "data", "v", times=LogNormalTimes(), told="sigma")
    params, rng = some(model, Noise(0)), np.random.default_rng(0)
    data, drawn, sigma = rng.normal(size=(6, 2)), rng.normal(size=(6, 2)), 0.1 + rng.random(6)
    x, total = data + sigma[:, None] * drawn, np.sqrt(1 + sigma**2)[:, None]
    target = (data - x / total**2) * total / sigma[:, None]
    said, _ = inner.forward(params, x / total, 250 * np.log(sigma))
    found = loss.value(params, data, drawn, sigma / 80)[0]["loss"]
    np.testing.assert_allclose(found, np.sum((said - target) ** 2, axis=1), rtol=1e-10)
    np.testing.assert_allclose(
        loss.predict(params, x, sigma / 80, "data"), model.forward(params, x, sigma)[0]
    )


def test_levels_rise_from_the_first_to_the_last_and_are_even_in_the_root():
    levels = karras_levels(18, 0.002, 80.0, 7.0)
    assert (levels[0], levels[-1], len(levels)) == (0.002, 80.0, 18)
    steps = np.diff(np.array(levels) ** (1 / 7))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
    assert np.all(steps > 0)
    assert karras_levels(2, 0.1, 1.0) == (0.1, 1.0)


def test_the_curriculum_doubles_the_steps_from_10_to_1280():
    counts = [curriculum(k, 8000) for k in range(8000)]
    assert sorted(set(counts)) == [10 * 2**i + 1 for i in range(8)]
    assert counts == sorted(counts)
    assert counts.count(11) == counts.count(641) == 1000


@pytest.mark.parametrize(("first", "last"), [(10, 100), (3, 8), (10, 15), (7, 7)])
def test_the_curriculum_ends_on_its_last_grid_whatever_the_ratio(first, last):
    counts = [curriculum(k, 1200, first, last) for k in range(1200)]
    grids = sorted(set(counts))
    assert (grids[0], grids[-1]) == (first + 1, last + 1)
    assert len({counts.count(grid) for grid in grids}) == 1
    assert all(b - 1 == min(2 * (a - 1), last) for a, b in pairwise(grids))


@given(seed=seeds)
def test_the_pseudo_huber_distance_is_a_square_near_0_and_a_length_far_away(seed):
    rng, c = np.random.default_rng(seed), 0.1

    class Constant:
        def forward(self, params, x, sigma):
            return np.where(sigma[:, None] == LEVELS[1], params, 0 * x), None

        def backward(self, dy, cache):
            return dy, dy

    for length in (1e-6, 0.1, 1e5):
        r = rng.normal(size=(1, 3))
        r *= length / np.linalg.norm(r)
        loss = Consistency(Constant(), LEVELS, c=c)
        data = np.zeros((1, 3))
        terms, cache = loss.value(r, data, data, np.zeros(1, int), target=0 * r)
        slope = loss.backward(np.ones(1), cache)
        exact = length**2 / (np.hypot(length, c) + c)
        assert terms["loss"][0] == pytest.approx(exact, rel=1e-12)
        np.testing.assert_allclose(slope, r / np.hypot(length, c), rtol=1e-12)
    default = Consistency(Constant(), LEVELS)
    terms, _ = default.value(np.full((1, 3), 1e-9), data, data, np.zeros(1, int), target=0 * r)
    assert terms["loss"][0] == pytest.approx(3e-18 / (2 * 0.00054 * np.sqrt(3)), rel=1e-3)


@pytest.mark.parametrize(("rule", "calls"), [("euler", 1), ("heun", 2), (None, 0)])
def test_a_teacher_is_asked_once_or_twice_and_never_in_training(rule, calls):
    asked, told = [], []

    def teacher(x, sigma):
        asked.append(sigma)
        return 0 * x

    class Told:
        def forward(self, params, x, sigma):
            told.append(sigma)
            return x, None

    loss = Consistency(Told(), LEVELS, teacher if rule else None, rule or "heun")
    loss.forward({}, np.zeros((300, 2)), Noise(0))
    assert len(asked) == calls
    low, high = told
    assert set(low) == set(LEVELS[:-1])
    assert set(high) == set(LEVELS[1:])
    np.testing.assert_array_equal(np.searchsorted(LEVELS, low) + 1, np.searchsorted(LEVELS, high))
    for sigma, where in zip(asked, (high, low), strict=False):
        np.testing.assert_array_equal(sigma, where)


def test_float32_stays_float32():
    model = Preconditioned(TimeMLP(2, 4, 1, embedding=4), STD, FIRST)
    params = tree.map(lambda a: a.astype(np.float32), some(model, Noise(0)))
    for loss in (
        Consistency(model, LEVELS, weight="gap"),
        Consistency(model, LEVELS, lambda x, sigma: 0 * x, distance="squared"),
    ):
        terms, cache = loss.forward(params, np.ones((3, 2), np.float32), Noise(0))
        grads = loss.backward(np.ones(3, np.float32), cache)
        assert {a.dtype for a in [terms["loss"], *tree.leaves(grads)]} == {np.dtype(np.float32)}


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="rise from above 0"):
        Consistency(Flow(), (0.0, 1.0))
    with pytest.raises(ValueError, match="rise from above 0"):
        Consistency(Flow(), (2.0, 1.0))
    with pytest.raises(ValueError, match="euler, heun"):
        Consistency(Flow(), LEVELS, rule="midpoint")
    with pytest.raises(ValueError, match="huber, squared"):
        Consistency(Flow(), LEVELS, distance="lpips")
    with pytest.raises(ValueError, match="needs a teacher"):
        Consistency(Flow(), LEVELS).step(np.zeros((1, 1)), np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="2 or more"):
        karras_levels(1)
    with pytest.raises(ValueError, match="deviation above 0"):
        Preconditioned(Flow(), 0.0)
