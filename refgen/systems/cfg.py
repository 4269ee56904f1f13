"""Class-conditional diffusion with classifier-free guidance: one network, with and without label.

Lectures   0, 3, 4          Source  ho2022-cfg

Everything is in guided.py; here a network is told a label, as a row of a table that is added to
the time (UNet, DiT) or stands beside x (MLP).
"""

from dataclasses import dataclass
from typing import ClassVar

from refgen.systems.guided import Guided
from refgen.systems.telling import ByLabel


@dataclass(frozen=True)
class CFG(Guided):
    """A noise predictor ε̂(x, t, label); `classes` is the number of labels."""

    classes: int = 10
    requests: ClassVar[tuple[str, ...]] = ("label", "guidance", "between")

    @property
    def teller(self) -> ByLabel:
        """Labels."""
        return ByLabel(self.classes, self.ops)
