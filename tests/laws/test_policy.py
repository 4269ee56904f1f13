"""Laws of policies: what maximum likelihood is, and what a diffusion makes of a known world."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check, tree
from refgen.exact import Mixture
from refgen.models.given import GivenMLP
from refgen.models.policy import CategoricalPolicy, GaussianPolicy
from refgen.models.told import Told
from refgen.noise import Noise
from refgen.processes import cosine, linear
from refgen.samplers import sample_ancestral, sample_ddim
from tests.duck import Duck

pytestmark = pytest.mark.tiny


def shaken(params, seed=0):
    rng = np.random.default_rng(seed)
    return tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape), params)


def witness(forward, backward, params, seed):
    """Return the adjoint gap of the mean loss along a random direction of the parameters."""
    rng = np.random.default_rng(seed)
    dloss = rng.normal(size=len(forward(params)[0]))
    grads = backward(dloss, forward(params)[1])
    direction = tree.map(lambda a: rng.normal(size=a.shape), params)

    def loss(*moved):
        return forward(tree.unflatten(dict(zip(tree.flatten(params), moved, strict=True))))[0]

    along = check.complex_step(loss, list(tree.leaves(params)), list(tree.leaves(direction)))
    return check.adjoint_gap(
        list(tree.leaves(direction)), list(tree.leaves(grads)), [dloss], [along]
    )


@given(seed=st.integers(0, 2**31), depth=st.integers(0, 2), count=st.integers(1, 5))
def test_the_gradient_of_a_policy_is_the_adjoint_of_its_loss(seed, depth, count):
    rng = np.random.default_rng(seed)
    seen, done = rng.normal(size=(count, 3)), rng.normal(size=(count, 2))
    for policy in (
        GaussianPolicy(3, 2, hidden=4, depth=depth),
        CategoricalPolicy(3, 2, bins=3, hidden=4, depth=depth),
    ):
        params = shaken(policy.init(Noise(seed)), seed)
        gap = witness(
            lambda p, policy=policy: policy.forward(p, seen, done), policy.backward, params, seed
        )
        assert gap < 1e-12


# Gaussian: least squares


def regression(seed):
    rng = np.random.default_rng(seed)
    seen = rng.normal(size=(30, 3)) + 0.5
    return seen, seen @ rng.normal(size=(3, 2)) + 1.0 + 0.4 * rng.normal(size=(30, 2))


def least_squares(seen, done, ridge=0.0):
    """Return the parameters of a linear policy: least squares with a bias, and what it leaves."""
    x = np.column_stack([seen, np.ones(len(seen))])
    k = np.linalg.solve(x.T @ x + ridge * np.eye(4), x.T @ done)
    left = np.mean((done - x @ k) ** 2, axis=0)
    return {"mean": {"dense0": {"w": k[:3], "b": k[3]}}, "logvar": np.log(left)}


def slopes(policy, params, seen, done):
    loss, cache = policy.forward(params, seen, done)
    grads = policy.backward(np.full_like(loss, 1 / len(loss)), cache)
    return max(float(np.abs(g).max()) for g in tree.leaves(grads))


@given(seed=st.integers(0, 2**31))
def test_the_likeliest_linear_gaussian_is_least_squares_whatever_its_variance(seed):
    seen, done = regression(seed)
    policy, best = GaussianPolicy(3, 2, depth=0), least_squares(*regression(seed))
    assert slopes(policy, best, seen, done) < 1e-12
    other = {"mean": best["mean"], "logvar": np.array([3.0, -2.0])}
    _, cache = policy.forward(other, seen, done)
    grads = policy.backward(np.ones(30), cache)
    assert max(np.abs(g).max() for g in tree.leaves(grads["mean"])) < 1e-10
    # what is not least squares, and what is not the mean square, is not the maximum
    assert slopes(policy, least_squares(seen, done, ridge=1.0), seen, done) > 1e-3
    std = best | {"logvar": 0.5 * best["logvar"]}
    unbiased = best | {"logvar": best["logvar"] + np.log(30 / 26)}
    assert min(slopes(policy, p, seen, done) for p in (std, unbiased)) > 1e-2


def test_descent_ends_where_least_squares_begins():
    seen, done = regression(0)
    policy = GaussianPolicy(3, 2, depth=0)
    params = shaken(policy.init(Noise(0)))
    for _ in range(3000):
        _, cache = policy.forward(params, seen, done)
        grads = policy.backward(np.full(30, 1 / 30), cache)
        params = tree.map(lambda p, g: p - 0.03 * g, params, grads)
    best = least_squares(seen, done)
    for found, right in zip(tree.leaves(params), tree.leaves(best), strict=True):
        np.testing.assert_allclose(found, right, atol=1e-7)


def test_shown_two_ways_a_gaussian_takes_neither():
    """Its mean is where nobody went, and its variance is mostly the distance of the ways."""
    done = np.concatenate([np.full((50, 1), 1.0), np.full((50, 1), -1.0)])
    seen = np.zeros((100, 1))
    policy = GaussianPolicy(1, 1, depth=0)
    flat = {"dense0": {"w": np.zeros((1, 1)), "b": np.zeros(1)}}
    best = {"mean": flat, "logvar": np.zeros(1)}
    assert slopes(policy, best, seen, done) < 1e-15
    assert policy.mode(best, seen[:1]) == 0
    drawn = policy.draw(best, np.zeros((20_000, 1)), Noise(0))
    assert abs(np.mean(drawn)) < 4 / np.sqrt(20_000)
    assert abs(np.var(drawn) - 1) < 4 * np.sqrt(2 / 20_000)


# Categorical: counts


def table(seed):
    """Return demonstrations in three situations, and their counts of four actions in one bin."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 8, size=(3, 4))
    situation, cell = np.nonzero(counts)
    repeats = counts[situation, cell]
    policy = CategoricalPolicy(3, 1, bins=4, limit=2.0, depth=0)
    done = policy.corners(cell) + 0.3
    return policy, np.eye(3)[np.repeat(situation, repeats)], np.repeat(done, repeats, 0), counts


def tabled(p):
    return {"logits": {"dense0": {"w": np.log(p), "b": np.zeros(4)}}}


@given(seed=st.integers(0, 2**31))
def test_the_likeliest_table_is_the_counts_of_each_situation(seed):
    policy, seen, done, counts = table(seed)
    right = counts / counts.sum(axis=1, keepdims=True)
    assert slopes(policy, tabled(right), seen, done) < 1e-12
    smoothed = (counts + 1) / (counts + 1).sum(axis=1, keepdims=True)
    pooled = np.tile(counts.sum(axis=0) / counts.sum(), (3, 1))
    of_actions = counts / counts.sum(axis=0)
    for wrong in (smoothed, pooled, of_actions):
        if not np.allclose(wrong / wrong.sum(axis=1, keepdims=True), right, atol=0.02):
            assert slopes(policy, tabled(wrong), seen, done) > 1e-4
    loss, _ = policy.forward(tabled(right), seen, done)
    entropy = -np.sum(counts * np.log(right)) / counts.sum()
    np.testing.assert_allclose(np.mean(loss), entropy, rtol=1e-12)  # cells of width 1


def test_a_table_draws_as_often_as_was_shown():
    policy, _, _, counts = table(3)
    params, n = tabled(counts / counts.sum(axis=1, keepdims=True)), 30_000
    for situation in range(3):
        seen = np.tile(np.eye(3)[situation], (n, 1))
        drawn = policy.draw(params, seen, Noise(situation))
        share = np.bincount(policy.cells(drawn), minlength=4) / n
        due = counts[situation] / counts[situation].sum()
        assert np.abs(share - due).max() < 4 * np.sqrt(0.25 / n)
        inside = (drawn + 2.0) % 1.0
        assert abs(np.mean(inside) - 0.5) < 4 / np.sqrt(12 * n)
        likeliest = np.argmax(counts[situation])
        assert policy.mode(params, seen[:1])[0, 0] == likeliest + 0.5 - 2.0  # the middle of a cell


@given(bins=st.integers(1, 9), actions=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_every_cell_is_found_again_by_its_middle_and_by_its_corner(bins, actions, seed):
    policy = CategoricalPolicy(1, actions, bins=bins, limit=1.5, depth=0)
    cells = np.arange(bins**actions)
    corners = policy.corners(cells)
    assert len(np.unique(np.round(corners, 9), axis=0)) == bins**actions
    inside = np.random.default_rng(seed).uniform(0.01, 0.99, size=corners.shape)
    assert np.array_equal(policy.cells(corners + policy.width * inside), cells)
    assert corners.min() == -1.5
    assert corners.max() + policy.width == pytest.approx(1.5)
    assert policy.cells(np.full((1, actions), 99.0)) == bins**actions - 1
    assert policy.cells(np.full((1, actions), -99.0)) == 0


def test_a_categorical_density_integrates_to_one():
    policy = CategoricalPolicy(2, 2, bins=4, limit=1.5, hidden=5)
    params = shaken(policy.init(Noise(0)))
    side = -1.5 + 3.0 * (np.arange(40) + 0.5) / 40
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    loss, _ = policy.forward(params, np.tile([0.3, -1.0], (1600, 1)), grid)
    assert np.sum(np.exp(-loss)) * (3.0 / 40) ** 2 == pytest.approx(1, rel=1e-12)


# A network that is given something


@given(seed=st.integers(0, 2**31), dim=st.integers(1, 3), told=st.integers(1, 3))
def test_the_gradient_of_what_is_given_a_condition_is_its_adjoint(seed, dim, told):
    rng = np.random.default_rng(seed)
    net = GivenMLP(dim, told, hidden=5, blocks=2)
    params = shaken(net.init(Noise(seed)), seed)
    x, c, t = rng.normal(size=(3, dim)), rng.normal(size=(3, told)), np.array([1, 5, 9])
    dy, direction = rng.normal(size=(3, dim)), rng.normal(size=(3, dim))
    along = check.complex_step(lambda x: net.forward(params, x, t, c)[0], [x], [direction])
    dx, _ = net.backward(dy, net.forward(params, x, t, c)[1])
    assert check.adjoint_gap([direction], [dx], [dy], [along]) < 1e-12

    def forward(p):
        y, cache = net.forward(p, x, t, c)
        return np.sum(y * y, axis=1), (y, cache)

    def backward(dloss, held):
        y, cache = held
        return net.backward(2 * dloss[:, None] * y, cache)[1]

    assert witness(forward, backward, params, seed) < 1e-12


def test_each_example_is_given_its_own_condition():
    net = GivenMLP(2, 3, hidden=6)
    params, rng = shaken(net.init(Noise(0))), np.random.default_rng(0)
    x, c, t = rng.normal(size=(4, 2)), rng.normal(size=(4, 3)), np.arange(4)
    y, _ = net.forward(params, x, t, c)
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(net.forward(params, x[order], t[order], c[order])[0], y[order])
    moved, _ = net.forward(params, x, t, c + np.eye(4)[:, :1])
    changed = np.abs(moved - y).max(axis=1) > 1e-9
    assert changed.tolist() == [True, False, False, False]
    with pytest.raises(ValueError, match="must agree"):
        net.forward(params, x, t, c[:2])


# A diffusion policy in a known world


class Known:
    """The best noise predictor of actions N(2 s + 1, 0.3²), one for each state."""

    def __init__(self, schedule):
        self.schedule = schedule

    def forward(self, params, x, t, condition):
        a, b = (f(t)[:, None] for f in (self.schedule.signal, self.schedule.spread))
        return b * (x - a * (2 * condition + 1)) / (a * a * 0.09 + b * b), None


def test_given_the_best_predictor_ddim_ends_in_the_policy_itself():
    """Every state has its own Gaussian; the flow to it is affine, and DDIM follows at order 1."""
    states = np.linspace(-1, 1, 7)[:, None]
    x, errors, sizes = Noise(0).normal((7, 1)), [], [125, 250, 500, 1000]
    for T in sizes:
        schedule = linear(T, 0.1 / T, 20 / T)
        given = Told(Known(schedule), {"condition": states})

        def predict(x, t, given=given):
            return given.forward({}, x, np.full(7, t))[0]

        ab = schedule.alpha_bar[-1]
        scale = 0.3 / np.sqrt(ab * 0.09 + 1 - ab)
        right = 2 * states + 1 + scale * (x - np.sqrt(ab) * (2 * states + 1))
        found = sample_ddim(predict, x, schedule, Noise(0))
        errors.append(np.abs(found - right).max())
        assert np.abs(found - right[::-1]).max() > 1  # another state's actions
    assert check.order_of_convergence(sizes, errors) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_a_diffusion_takes_either_way_as_often_as_it_is_taken_in_that_state(sampler):
    """Where the likeliest Gaussian's mean lies, it puts nothing."""
    n, schedule = 4000, cosine(200)
    shares = (0.5, 0.8)
    worlds = [
        Mixture(np.array([w, 1 - w]), np.array([[1.0], [-1.0]]), np.full(2, 0.01)) for w in shares
    ]
    places = np.repeat(np.arange(2), n)

    def predict(x, t):
        a, b = float(schedule.signal(t)), float(schedule.spread(t))
        parts = [w.noise_mean(x[places == i], a, b) for i, w in enumerate(worlds)]
        return np.concatenate(parts)

    x = Noise(1).normal((2 * n, 1))
    walk = sample_ddim if sampler == "ddim" else sample_ancestral
    actions = walk(predict, x, schedule, Noise(2))[:, 0]
    for i, share in enumerate(shares):
        mine = actions[places == i]
        assert abs(np.mean(mine > 0) - share) < 3 * np.sqrt(share * (1 - share) / n)
        mean = 2 * share - 1
        assert np.mean(np.abs(mine - mean) < 0.1) < 0.01
        assert abs(np.mean(mine) - mean) < 0.05


# What else a policy is


def test_policies_compute_on_arrays_of_another_library():
    rng = np.random.default_rng(0)
    seen, done, t = rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), np.array([1, 2, 3])
    for policy in (GaussianPolicy(2, 2, hidden=4), CategoricalPolicy(2, 2, bins=3, hidden=4)):
        params = shaken(policy.init(Noise(0)))
        there = tree.map(Duck, params)
        loss, cache = policy.forward(there, Duck(seen), Duck(done))
        here, kept = policy.forward(params, seen, done)
        np.testing.assert_allclose(loss.a, here, rtol=1e-12)
        grads = tree.map(lambda d: d.a, policy.backward(Duck(np.ones(3)), cache))
        for a, b in zip(
            tree.leaves(grads), tree.leaves(policy.backward(np.ones(3), kept)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        np.testing.assert_allclose(policy.mode(there, Duck(seen)).a, policy.mode(params, seen))
    net = GivenMLP(2, 2, hidden=4)
    params = shaken(net.init(Noise(0)))
    y, cache = net.forward(tree.map(Duck, params), Duck(done), Duck(t), Duck(seen))
    here, kept = net.forward(params, done, t, seen)
    np.testing.assert_allclose(y.a, here, rtol=1e-12)
    dx, _ = net.backward(Duck(done), cache)
    np.testing.assert_allclose(dx.a, net.backward(done, kept)[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: GaussianPolicy(0, 2), "sizes of at least 1"),
        (lambda: GaussianPolicy(2, 2, depth=-1), "counts hidden layers"),
        (lambda: CategoricalPolicy(2, 2, bins=0), "bins ≥ 1"),
        (lambda: CategoricalPolicy(2, 2, limit=0.0), "limit > 0"),
        (lambda: CategoricalPolicy(2, 8, bins=20), "one action at a time"),
        (lambda: GivenMLP(0, 2), "1 at least"),
        (lambda: GivenMLP(2, 0), "1 at least"),
        (lambda: GivenMLP(2, 2, blocks=0), "blocks must be at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
