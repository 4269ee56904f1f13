"""Samplers: one algorithm a page."""

from refgen.samplers.ancestral import sample_ancestral
from refgen.samplers.ddim import sample_ddim

__all__ = ["sample_ancestral", "sample_ddim"]
