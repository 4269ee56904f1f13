"""Time that may be spent, and how stages share it: a rented GPU costs by the minute."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

LEAST_S = 5.0  # less is not worth a start


@dataclass
class Budget:
    """Seconds from now on; None is no end."""

    seconds: float | None = None
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.began = self.now()

    @property
    def gone(self) -> float:
        """Seconds since the beginning."""
        return self.now() - self.began

    @property
    def left(self) -> float:
        """Seconds left."""
        return float("inf") if self.seconds is None else max(0.0, self.seconds - self.gone)

    def share(self, stage: str, weights: Mapping[str, float], order: Sequence[str]) -> float:
        """Return what a stage may take of what is left, beside those that come after it.

        What an earlier stage did not need goes to all later ones; 0 is too little to begin.

        >>> budget = Budget(100.0, now=lambda: 0.0)
        >>> budget.share("test", {"test": 1.0, "time": 3.0}, ["test", "time"])
        25.0
        """
        later = sum(weights[s] for s in order[order.index(stage) :])
        mine = self.left * weights[stage] / later
        return mine if mine >= LEAST_S else 0.0
