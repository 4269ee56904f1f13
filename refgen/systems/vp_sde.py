r"""A score model of the variance-preserving SDE: DDPM's limit for infinitely many levels.

Lectures   1 (VP-SDE), 3, 4 (scores)          Source  song2021-sde  eq. 11, 12 and appendix C

    dx = −½ β x dt + √β dW,   a = exp(−½ ∫β),   b² = 1 − a²          β = β₀ + (β₁ − β₀) t

for Brownian W; ∫β is taken from 0 to t. β₀ = 0.1 and β₁ = 20 are a thousand times the first and
last β_t of DDPM's thousand steps, since t runs to 1 here and to 1000 there. Data of variance 1 keep
it on the way, so what a network sees needs no scaling. With via = sub-vp the signal is the same and
the noise less, b = 1 − a², by √(β (1 − a⁴)) dW; that is a score model too, by the same loss.

Near t = 0 b goes to 0 and a score grows like 1/b, so training and walks keep to t ≥ first_time.
"""

from collections.abc import Callable
from dataclasses import dataclass

from refgen.processes.path import VP, Path, SubVP
from refgen.systems.score_sde import ScoreSDE
from refgen.systems.system import refuse_unknown

PATHS: dict[str, Callable[[float, float], Path]] = {"vp": VP, "sub-vp": SubVP}


@dataclass(frozen=True)
class VPSDE(ScoreSDE):
    """A score model along VP or sub-VP; beta_first and beta_last are β₀ and β₁.

    `via` names the path, vp or sub-vp.
    """

    via: str = "vp"
    beta_first: float = 0.1
    beta_last: float = 20.0
    first_time: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.first_time < 1:
            raise ValueError(f"first_time lies between 0 and 1, not at {self.first_time}")
        super().__post_init__()

    @property
    def path(self) -> Path:
        """The path. Raises ValueError for one that does not exist."""
        refuse_unknown("path", self.via, PATHS)
        return PATHS[self.via](self.beta_first, self.beta_last)

    @property
    def first(self) -> float:
        """t₀."""
        return self.first_time
