"""The executable equations of the lectures, one module a family, and the misprints among them."""

from refgen.claims import (
    architecture,
    averages,
    ddim,
    diffusion,
    diffusion_bound,
    diffusion_posterior,
    diffusion_reverse,
    diffusion_weights,
    errata,
    fields,
    flows,
    gan,
    gan_dynamics,
    imitation,
    inference,
    likelihoods,
    losses,
    players,
    sampling,
    schedules,
    score,
    vae,
    vae_gradients,
)
from refgen.claims.claim import Claim, Erratum, select
from refgen.claims.judge import verify, verify_errata
from refgen.claims.report import ErrataReport, ErratumVerdict, Report, Verdict, WrongVerdict

CLAIMS: tuple[Claim, ...] = (
    *inference.CLAIMS,
    *averages.CLAIMS,
    *vae.CLAIMS,
    *likelihoods.CLAIMS,
    *vae_gradients.CLAIMS,
    *losses.VAE,
    *gan.CLAIMS,
    *gan_dynamics.CLAIMS,
    *players.CLAIMS,
    *diffusion.CLAIMS,
    *diffusion_posterior.CLAIMS,
    *diffusion_reverse.CLAIMS,
    *diffusion_bound.CLAIMS,
    *diffusion_weights.CLAIMS,
    *schedules.CLAIMS,
    *sampling.CLAIMS,
    *ddim.CLAIMS,
    *score.CLAIMS,
    *fields.CLAIMS,
    *flows.CLAIMS,
    *losses.FLOWS,
    *imitation.CLAIMS,
    *architecture.CLAIMS,
)
ERRATA: tuple[Erratum, ...] = errata.ERRATA

__all__ = [
    "CLAIMS",
    "ERRATA",
    "Claim",
    "ErrataReport",
    "Erratum",
    "ErratumVerdict",
    "Report",
    "Verdict",
    "WrongVerdict",
    "select",
    "verify",
    "verify_errata",
]
