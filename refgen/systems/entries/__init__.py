"""The entries of the registry, a module for each family, in the order of the lectures."""

from refgen.systems.entries import (
    adversarial,
    conditioning,
    diffusion,
    energy,
    few_steps,
    flows,
    guidance,
    imitation,
    judging,
    latent,
    score,
)
from refgen.systems.entry import Entry

ENTRIES: tuple[Entry, ...] = (
    *latent.ENTRIES,
    *adversarial.ENTRIES,
    *diffusion.ENTRIES,
    *score.ENTRIES,
    *guidance.ENTRIES,
    *conditioning.ENTRIES,
    *few_steps.ENTRIES,
    *energy.ENTRIES,
    *flows.ENTRIES,
    *imitation.ENTRIES,
    *judging.ENTRIES,
)
