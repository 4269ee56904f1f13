"""What errors cost, by probabilities carried from state to state: nothing here is drawn."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import check
from refgen.exact.tightrope import FiniteWorld, Tightrope, worst

pytestmark = pytest.mark.tiny


def world(seed, states=5, actions=3, shown=5):
    """Return a random world; doing as the expert does, action 0, one stays among `shown`."""
    rng = np.random.default_rng(seed)
    moves = rng.exponential(size=(states, actions, states))
    moves[:shown, 0, shown:] = 0
    moves /= moves.sum(axis=2, keepdims=True)
    return FiniteWorld(moves, np.eye(states)[0]), np.zeros(states, int)


def cost(place, policy, expert, steps):
    return float(place.mistakes(policy, expert, steps).sum())


@given(
    error=st.floats(1e-3, 0.9),
    recovery=st.floats(0, 1),
    steps=st.integers(0, 60),
)
def test_the_closed_form_is_what_propagation_gives(error, recovery, steps):
    rope = Tightrope(error, recovery)
    made = rope.world.mistakes(rope.policy, rope.expert, steps)
    np.testing.assert_allclose(made, [rope.mistake(t + 1) for t in range(steps)], atol=1e-12)
    np.testing.assert_allclose(rope.cost(steps), made.sum(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("error", "recovery"), [(0.3, 0.0), (0.3, 0.2), (0.1, 0.9)])
def test_propagation_is_the_sum_over_every_history(error, recovery):
    """All 2⁵ sequences of right and wrong, each with its probability."""
    total = 0.0
    for history in product((0, 1), repeat=5):
        p, state = 1.0, 0
        for action in history:
            p *= Tightrope(error, recovery).policy[state, action]
            state = action
        total += p * sum(history)
    assert Tightrope(error, recovery).cost(5) == pytest.approx(total, rel=1e-12)


def test_errors_that_are_never_mended_cost_the_square_of_the_time():
    """The slope is 2 while ε T is small, and half of ε T² is the cost to 1/T + ε T/3."""
    sizes = [100, 200, 400, 800]
    costs = [Tightrope(1e-7).cost(n) for n in sizes]
    assert check.order_of_convergence(sizes, costs) == pytest.approx(-2, abs=0.01)
    assert costs[-1] == pytest.approx(0.5e-7 * 800**2, rel=2e-3)


def test_independent_errors_cost_the_time():
    for error in (1e-7, 0.1, 0.5):
        rope = Tightrope(error, 1 - error)
        for steps in (1, 10, 1000):
            assert rope.cost(steps) == pytest.approx(error * steps, rel=1e-12)


def test_errors_that_are_mended_cost_the_square_until_then_and_the_time_after():
    rope = Tightrope(1e-5, 1e-3)  # mended within a thousand steps
    early, late = [5, 10, 20, 40], [10**5, 2 * 10**5, 4 * 10**5]
    assert check.order_of_convergence(early, [rope.cost(n) for n in early]) < -1.9
    assert check.order_of_convergence(late, [rope.cost(n) for n in late]) > -1.1
    assert rope.cost(10**6) / 10**6 == pytest.approx(1e-5 / 1.01e-3, rel=2e-3)


@given(seed=st.integers(0, 2**31), error=st.floats(0.001, 0.5), shown=st.integers(1, 5))
def test_no_world_is_worse_than_the_rope_that_is_never_found_again(seed, error, shown):
    """Whatever the policy does where nobody has been; and ε T would not be a bound."""
    place, expert = world(seed, shown=shown)
    rng = np.random.default_rng(seed + 1)
    policy = rng.dirichlet(np.ones(3), size=5)
    policy[:shown] = [1 - error, error / 2, error / 2]
    seen = place.reached(expert, 30)
    assert not seen[shown:].any()
    for steps in (1, 2, 30):
        made = cost(place, policy, expert, steps)
        rounding = 4 * steps * np.finfo(float).eps / error  # T less nearly T, over ε
        assert made <= worst(error, steps) + rounding
        assert made >= 1 - (1 - error) ** steps - 1e-12
    lost = policy.copy()
    lost[shown:] = [0.0, 1.0, 0.0]
    if shown < 5 and np.all(place.moves[:shown, 1:, shown:].sum(axis=2) > 0.2):
        assert cost(place, lost, expert, 30) > error * 30


@given(seed=st.integers(0, 2**31), error=st.floats(0, 1), steps=st.integers(1, 20))
def test_a_policy_that_errs_alike_everywhere_errs_as_often_as_it_acts(seed, error, steps):
    """What showing the way back buys: in every world ε T."""
    place, expert = world(seed, shown=2)
    policy = np.tile([1 - error, error / 3, 2 * error / 3], (5, 1))
    assert cost(place, policy, expert, steps) == pytest.approx(error * steps, abs=1e-12)


def test_the_rope_is_the_worst_world():
    for error, steps in ((0.01, 5), (0.2, 40), (1.0, 7)):
        never = sum(1 - (1 - error) ** t for t in range(1, steps + 1))
        assert worst(error, steps) == pytest.approx(never, rel=1e-12)
        assert Tightrope(error).cost(steps) == worst(error, steps)


def test_visits_are_distributions_and_begin_at_the_start():
    place, _ = world(0)
    policy = np.full((5, 3), 1 / 3)
    visits = place.visits(policy, 9)
    assert np.array_equal(visits[0], place.start)
    np.testing.assert_allclose(visits.sum(axis=1), 1)
    assert place.visits(policy, 0).shape == (0, 5)


def test_what_is_no_distribution_is_refused():
    place, expert = world(0)
    with pytest.raises(ValueError, match="policy: each row is a distribution"):
        place.mistakes(np.ones((5, 3)), expert, 3)
    with pytest.raises(ValueError, match="moves: each row"):
        FiniteWorld(np.ones((2, 1, 2)), np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"\(S, A, S\)"):
        FiniteWorld(np.ones((2, 2)), np.array([1.0, 0.0]))
    for error, recovery in ((0.0, 0.5), (1.5, 0.5), (0.5, -0.1)):
        with pytest.raises(ValueError, match="error is a probability above 0"):
            Tightrope(error, recovery)
