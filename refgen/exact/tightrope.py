r"""A tightrope: what an error costs when nobody has shown the way back.

Shapes     S states, A actions, T steps.   moves : (S, A, S), each row a distribution
           start : (S,)    policy : (S, A), each row a distribution    expert : (S,) in 0 .. A − 1
           visits : (T, S)    mistakes : (T,)
Lectures   0 (distribution shift, exposure bias)
Sources    ross2010-reductions  theorem 2.1 (the square of T);  ross2011-dagger  (T, once it is
           shown what to do where the learner comes to)

In a world of finitely many states probabilities are propagated, and nothing is drawn. A policy π is
in state s before step t with probability d_t(s), and errs where it does not do as the expert a*
would there:

    d_{t+1}(s') = Σ_{s,a} d_t(s) π(a | s) P(s' | s, a),   d_1 = start                (TR.1)
    mistake_t = Σ_s d_t(s) Σ_{a ≠ a*(s)} π(a | s),   J_T = Σ_{t ≤ T} mistake_t        (TR.2)

Let the policy err with probability ε in every state that the expert comes to: that is what it was
trained for. Up to its first error it is among those states, so it has erred by step t with
probability 1 − (1 − ε)^t. A mistake at step t is made by no others, so whatever it does elsewhere

    J_T ≤ Σ_{t ≤ T} (1 − (1 − ε)^t) = T − (1 − ε) (1 − (1 − ε)^T) / ε                 (TR.3)

which is ½ ε T² while 1 ≪ T ≪ 1/ε. A policy that errs with ε everywhere, on the other hand, makes
ε T mistakes in any world. The tightrope has both ends and what is between. It has two states, on
the rope and off it; doing as the expert would leads onto the rope, anything else off it, and off
the rope the policy does right with probability r.

    P^π = ((1 − ε, ε), (r, 1 − r)),   whose eigenvalues are 1 and λ = 1 − ε − r
    mistake_t = the probability to be off after t steps = ε / (ε + r) (1 − λ^t)       (TR.4)
    J_T = ε / (ε + r) (T − λ (1 − λ^T) / (ε + r))                                     (TR.5)

r = 0, never shown and never mended, meets the bound. r = 1 − ε gives λ = 0: independent errors,
J_T = ε T. Between them J grows like ½ ε T² up to T ≈ 1/(ε + r), and from there like T.
"""

from dataclasses import dataclass

import numpy as np

from refgen.typing import Array

ON, OFF = 0, 1  # states
RIGHT, WRONG = 0, 1  # actions


@dataclass(frozen=True, eq=False)
class FiniteWorld:
    """Where each action leads from each state, and where an episode starts.

    Raises ValueError unless moves is (S, A, S), start (S,), and each a distribution.
    """

    moves: Array
    start: Array

    def __post_init__(self) -> None:
        states = len(self.start)
        if self.moves.ndim != 3 or self.moves.shape[::2] != (states, states):
            raise ValueError(
                f"moves are (S, A, S), from each state by each action, with S = {states} as in "
                f"start, not {self.moves.shape}"
            )
        for name, rows in (("moves", self.moves), ("start", self.start)):
            _refuse_rows(name, rows)

    def visits(self, policy: Array, steps: int) -> Array:
        """Return the probability of each state before each step, (T, S)."""
        _refuse_rows("policy", policy)
        kernel = np.einsum("sa,sap->sp", policy, self.moves)
        d = [np.asarray(self.start, dtype=np.float64)]
        for _ in range(steps - 1):
            d.append(d[-1] @ kernel)  # (TR.1)
        return np.stack(d[:steps]) if steps else np.zeros((0, len(self.start)))

    def mistakes(self, policy: Array, expert: Array, steps: int) -> Array:
        """Return the probability of a mistake at each step, (T,); their sum is J_T."""
        wrong = 1.0 - policy[np.arange(len(policy)), expert]
        errs: Array = self.visits(policy, steps) @ wrong  # (TR.2)
        return errs

    def reached(self, expert: Array, steps: int) -> Array:
        """Tell which states the expert can be in before one of the steps, (S,) bool."""
        does = np.eye(self.moves.shape[1])[expert]
        seen: Array = np.any(self.visits(does, steps) > 0, axis=0)
        return seen


def worst(error: float, steps: int) -> float:
    """Return the most mistakes that a policy can be expected to make, of error rate ε.

    >>> worst(0.5, 2)  # ½ have erred by the first step, ¾ by the second
    1.25
    """
    return Tightrope(error, 0.0).cost(steps)  # (TR.3)


@dataclass(frozen=True)
class Tightrope:
    """A policy on the rope: it errs with `error`, and comes back with `recovery`.

    Raises ValueError unless both are probabilities and error is not 0.
    """

    error: float
    recovery: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.error <= 1 and 0 <= self.recovery <= 1):
            raise ValueError(
                f"error is a probability above 0 and recovery one, not {self.error} and "
                f"{self.recovery}"
            )

    @property
    def world(self) -> FiniteWorld:
        """The two states: RIGHT leads to ON and WRONG to OFF, from either."""
        return FiniteWorld(np.tile(np.eye(2), (2, 1, 1)), np.array([1.0, 0.0]))

    @property
    def expert(self) -> Array:
        """What the expert does: RIGHT, in either state."""
        return np.array([RIGHT, RIGHT])

    @property
    def policy(self) -> Array:
        """What the clone does, (2, 2)."""
        e, r = self.error, self.recovery
        return np.array([[1 - e, e], [r, 1 - r]])

    def mistake(self, t: int) -> float:
        """Return the probability of a mistake at step t = 1, 2, ..."""
        total = self.error + self.recovery
        return self.error / total * (1 - (1 - total) ** t)  # (TR.4)

    def cost(self, steps: int) -> float:
        """Return the expected number of mistakes in so many steps, J_T."""
        total = self.error + self.recovery
        lasting = (1 - total) * (1 - (1 - total) ** steps) / total
        return self.error / total * (steps - lasting)  # (TR.5)


def _refuse_rows(name: str, rows: Array) -> None:
    if np.any(rows < 0) or np.any(np.abs(np.sum(rows, axis=-1) - 1) > 1e-9):
        raise ValueError(f"{name}: each row is a distribution, of sum 1, not\n{rows}")
