r"""A score model of the variance-exploding SDE: NCSN's limit for infinitely many levels.

Lectures   1 (variance exploding), 3, 4 (NCSN)     Source  song2021-sde  eq. 8, 9, appendix C

    dx = √((σ²)') dW,   a = 1,   b = σ = σ₀ (σ₁/σ₀)ᵗ

for Brownian W. The data stay where they are, and noise grows over them until they are lost in it:
σ₁, sigma_last, is to be no less than the distances between them, so that from its noise a walk may
still end at any. σ₀, sigma_first, is the noise that is left at t = 0, where the walks end.
"""

from dataclasses import dataclass

from refgen.processes.path import VE
from refgen.systems.score_sde import ScoreSDE


@dataclass(frozen=True)
class VESDE(ScoreSDE):
    """A score model along VE, from sigma_first to sigma_last."""

    sample_steps: int = 100
    sigma_first: float = 0.02
    sigma_last: float = 10.0

    @property
    def path(self) -> VE:
        """The path."""
        return VE(self.sigma_first, self.sigma_last)

    @property
    def first(self) -> float:
        """t₀: 0, where σ₀ is left; times uniform from there to 1 are even in log σ."""
        return 0.0
