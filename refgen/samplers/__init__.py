"""Samplers: one algorithm a page."""

from refgen.samplers.ancestral import VARIANCES, sample_ancestral, sample_ancestral_learned
from refgen.samplers.ddim import invert_ddim, sample_ddim
from refgen.samplers.dpm_solver import sample_dpm_solver_2m, sample_dpm_solver_2s
from refgen.samplers.edm import sample_edm, slopes_of
from refgen.samplers.inpainting import inpaint, knowing
from refgen.samplers.langevin import (
    sample_annealed_langevin,
    sample_langevin,
    stationary_variance,
)
from refgen.samplers.ode import TABLEAUX, Tableau, solve, solve_with_density
from refgen.samplers.predictor_corrector import NORMS, PREDICTORS, sample_predictor_corrector
from refgen.samplers.probability_flow import (
    ProbabilityFlow,
    log_density,
    sample_probability_flow,
)
from refgen.samplers.sde import sample_reverse_sde
from refgen.samplers.walk import trace

__all__ = [
    "NORMS",
    "PREDICTORS",
    "TABLEAUX",
    "VARIANCES",
    "ProbabilityFlow",
    "Tableau",
    "inpaint",
    "invert_ddim",
    "knowing",
    "log_density",
    "sample_ancestral",
    "sample_ancestral_learned",
    "sample_annealed_langevin",
    "sample_ddim",
    "sample_dpm_solver_2m",
    "sample_dpm_solver_2s",
    "sample_edm",
    "sample_langevin",
    "sample_predictor_corrector",
    "sample_probability_flow",
    "sample_reverse_sde",
    "slopes_of",
    "solve",
    "solve_with_density",
    "stationary_variance",
    "trace",
]
