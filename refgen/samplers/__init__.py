"""Samplers: one algorithm a page."""

from refgen.samplers.ancestral import VARIANCES, sample_ancestral
from refgen.samplers.ddim import sample_ddim

__all__ = ["VARIANCES", "sample_ancestral", "sample_ddim"]
