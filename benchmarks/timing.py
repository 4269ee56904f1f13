"""Figures of one contender, and how two of them compare.

Rounds alternate, A B C, A B C, so that ratios are formed within a round: what slows the machine
for a while slows all. A round in which other processes worked is noisy, and counts only where
fewer than three are quiet. Slow contenders may leave the later rounds out.
"""

import statistics
from dataclasses import dataclass, field

ENOUGH = 3  # quiet rounds, to do without the noisy ones


@dataclass
class Timing:
    """What one contender did in one case."""

    error: float | None = None  # None: there is nothing to judge
    allowed: float | None = None
    rule: str = ""
    seconds: list[float] = field(default_factory=list)  # a call, one entry a round
    noisy: list[bool] = field(default_factory=list)  # whether others disturbed that round
    about: dict[str, object] = field(default_factory=dict)  # run_by, flops

    @property
    def right(self) -> bool:
        """Whether it computes what it should; an error that is no number is never right."""
        return self.error is None or self.allowed is None or self.error <= self.allowed

    @property
    def median(self) -> float:
        """Seconds a call, over the rounds that count."""
        return statistics.median(self.seconds[i] for i in counted(self))

    @property
    def spread(self) -> tuple[float, float]:
        """The fifth and the four fifths of the same rounds, as the nearest of them."""
        kept = sorted(self.seconds[i] for i in counted(self))
        return kept[round(0.2 * (len(kept) - 1))], kept[round(0.8 * (len(kept) - 1))]


def counted(*timings: Timing) -> list[int]:
    """Return the rounds, of those that all took part in, in which nobody disturbed any of them.

    Where fewer than three are quiet, all rounds count.
    """
    rounds = range(min(len(t.seconds) for t in timings))
    quiet = [i for i in rounds if not any(t.noisy[i] for t in timings)]
    return quiet if len(quiet) >= ENOUGH else list(rounds)


def ratios(slower: Timing, faster: Timing) -> list[float]:
    """Return how many times faster the second was, in each round that counts, sorted."""
    return sorted(slower.seconds[i] / faster.seconds[i] for i in counted(slower, faster))


def ratio(slower: Timing, faster: Timing) -> float:
    """Return the median of the ratios."""
    return statistics.median(ratios(slower, faster))
