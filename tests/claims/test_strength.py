"""Claims hold at any seed, catch by a margin, and put the project's own code on trial."""

import dataclasses
import sys

import numpy as np
import pytest

import refgen.ops
from refgen import exact, models, objectives, processes, samplers
from refgen.claims import CLAIMS, ERRATA, verify, verify_errata
from refgen.exact.tightrope import Tightrope
from refgen.models.policy import CategoricalPolicy, GaussianPolicy
from refgen.objectives import discretized
from refgen.objectives.consistency import Consistency
from refgen.objectives.denoising import Denoising
from refgen.objectives.distillation import ProgressiveDistillation
from refgen.objectives.ebm import Energy, EnergyLikelihood
from refgen.objectives.hybrid import Hybrid
from refgen.objectives.precondition import Preconditioned
from refgen.objectives.score_matching import SlicedScoreMatching
from refgen.objectives.variational import VariationalBound
from refgen.processes import discrete, guidance, parametrization, path, weights
from refgen.samplers import ddim, dpm_solver, edm, langevin, probability_flow, sde

BY_ID = {claim.id: claim for claim in CLAIMS}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 5, 7, 11])
def test_every_claim_and_erratum_holds_at_other_seeds(seed):
    report = verify(CLAIMS, seed=seed)
    assert report.ok, report.table()
    misprints = verify_errata(ERRATA, seed=seed)
    assert misprints.ok, misprints.table()


@pytest.mark.parametrize("seed", [100, 101, 102])
def test_one_case_is_enough_to_catch_every_wrong_form(seed):
    report = verify(CLAIMS, seed=seed, cases=1)
    assert report.ok, report.table()


def test_no_wrong_form_is_caught_by_a_hair():
    close = [
        (v.claim.id, w.name, w.residual / v.claim.tolerance)
        for v in verify(CLAIMS, seed=1, cases=3).verdicts
        for w in v.wrong
        if w.residual < 3 * v.claim.tolerance
    ]
    assert close == []


def test_a_verdict_does_not_depend_on_the_claims_before_it():
    some = CLAIMS[::5]
    forwards = verify(some, cases=1).to_json()["claims"]
    backwards = verify(some[::-1], cases=1).to_json()["claims"]
    assert forwards == backwards[::-1]


COUNTS = {"sched.stride", "arch.selfattn_W4"}  # answer with whole numbers


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.id not in COUNTS], ids=lambda c: c.id)
def test_no_claim_takes_nan_for_an_answer(claim):
    (verdict,) = verify([dataclasses.replace(claim, right=broken(claim.right, np.nan))]).verdicts
    assert not verdict.residual <= claim.tolerance


# The project's code on trial: a function a tenth too large must make a claim fail

OPS = {
    "gaussian_kl_forward": "vae.kl_diag_gaussian",
    "gaussian_kl_backward": "vae.kl_grad",
    "gaussian_nll_forward": "vae.gauss_loglik",
    "gaussian_nll_backward": "vae.grad_theta_linear",
    "bernoulli_nll_forward": "gan.real_label_bce",
    "bernoulli_nll_backward": "vae.bce_bernoulli_grad",
    "categorical_nll_forward": "kl.discrete_nonneg",
    "categorical_nll_backward": "il.softmax_grad",
    "reparameterize_forward": "gauss.reparam_sample",
    "reparameterize_backward": "vae.reparam_grad",
    "reparameterize_kl_backward": "vae.elbo_grad",
    "discriminator_loss_forward": "gan.value_js",
    "discriminator_loss_backward": "gan.disc_grad",
    "minimax_loss_forward": "gan.zero_sum",
    "minimax_loss_backward": "gan.sat_grad",
    "nonsaturating_loss_forward": "gan.real_label_bce",
    "nonsaturating_loss_backward": "gan.nonsat_grad",
    "noising_forward": "ddpm.forward_marginal",
    "ddpm_step_forward": "ddpm.alg2_ancestral",
    "ddim_step_forward": "ddim.is_euler_in_sigma",
    "ddim_step_drawn": "ddim.eta1_is_ancestral",
    "langevin_step_forward": "langevin.ula_bias",
    "langevin_step_drawn": "ncsn.algorithm_1",
    "affine_coupling_forward": "nf.coupling_logdet",
    "affine_coupling_inverse": "nf.coupling_inverse",
    "affine_coupling_backward": "nf.nll_grad",
    "dense_forward": "ddpm.Lsimple_grad",
    "dense_backward": "ae.recon_mse_grad",
    "sigmoid": "gan.optimal_D",
    "adam_step": "opt.adam_first_step",
}
FUNCTIONS = [(getattr(refgen.ops, name), id) for name, id in OPS.items()] + [
    (parametrization.data_from_noise, "score.tweedie"),
    (parametrization.noise_from_data, "ddpm.eps_from_x0"),
    (parametrization.score_from_noise, "score.cond_gauss"),
    (parametrization.mean_from_data, "ddpm.posterior_mean"),
    (parametrization.mean_from_noise, "ddpm.posterior_mean_eps"),
    (objectives.ddpm.loss_weights, "ddpm.Lt_eps_weight"),
    (samplers.sample_ancestral, "ddpm.alg2_last_step"),
    (samplers.sample_ddim, "ddim.gaussian_exact_map"),
    (discrete.transition, "ve.forward_step"),
    (discrete.transition, "ddpm.merge_gaussians"),
    (weights.in_kind, "ddpm.Lt_x0_weight"),
    (weights.elbo_of_step, "score.Lt_score_weight"),
    (weights.loss_weight, "score.simple_vs_ncsn_weight"),
    (guidance.guided, "guid.cfg_gamma"),
    (guidance.gamma_of, "guid.cfg_w0"),
    (guidance.implied_gradient, "guid.cfg_implicit_classifier"),
    (langevin.stationary_variance, "langevin.ula_bias"),
    (langevin.sample_langevin, "ncsn.annealed_step_equiv"),
    (langevin.sample_annealed_langevin, "ncsn.annealed_snr_const"),
    (dpm_solver.sample_dpm_solver_2m, "dpm.exact_for_one_datum"),
    (edm.sample_edm, "edm.order2_in_S"),
    (sde.sample_reverse_sde, "sde.one_family"),
    (probability_flow.log_density, "sde.flow_likelihood"),
    (ddim.invert_ddim, "ddim.inversion"),
    (discretized.discretized_nll_forward, "ddpm.L0_bins"),
    (discretized.discretized_nll_backward, "ddpm.L0_gradient"),
    (discretized.bits_per_dimension, "ll.bits_per_dimension"),
]
METHODS = [
    (exact.Gaussian, "kl", "gauss.kl_full"),
    (exact.Gaussian, "log_density", "gauss.sum"),
    (exact.LinearGaussian, "log_density", "vi.marginal_integral"),
    (exact.LinearGaussian, "posterior", "vi.elbo_max_is_posterior"),
    (exact.LinearGaussian, "elbo", "vae.linear_recon_expect"),
    (exact.Mixture, "data_mean", "ddpm.x0_pred_is_cond_mean"),
    (exact.Mixture, "score", "score.tweedie"),
    (exact.Mixture, "log_density", "ncsn.smoothed_gmm"),
    (exact.LinearGaussianChain, "terms", "ddpm.elbo_three_terms"),
    (exact.LinearGaussianChain, "elbo", "ddpm.elbo_is_bound"),
    (models.CouplingFlow, "inverse", "nf.flow_inverse"),
    (processes.Schedule, "signal", "ddpm.forward_marginal"),
    (processes.Schedule, "spread", "ddpm.forward_marginal"),
    (objectives.Elbo, "forward", "vae.estimate_unbiased"),
    (objectives.Elbo, "backward", "vae.elbo_grad"),
    (objectives.Game, "discriminator_backward", "gan.disc_theta_grad"),
    (objectives.Game, "generator_backward", "gan.gen_theta_grad"),
    (objectives.NegativeLogLikelihood, "forward", "nf.composition_logdet"),
    (objectives.NegativeLogLikelihood, "backward", "nf.nll_grad"),
    (objectives.ddpm.NoisePrediction, "backward", "ddpm.Lsimple_grad"),
    (exact.LinearGaussianChain, "elbo", "hvae.elbo"),
    (exact.Mixture, "noise_mean", "ddpm.eps_pred_is_cond_mean"),
    (exact.Mixture, "responsibilities", "guid.uncond_is_resp_mixture"),
    (path.VP, "levels", "sde.vp_limit"),
    (path.CosinePath, "levels", "sched.arc_uniform"),
    (VariationalBound, "prior", "ddpm.prior_term"),
    (VariationalBound, "value", "ddpm.Lt_mu_weight"),
    (VariationalBound, "forward", "ddpm.bound_estimate"),
    (VariationalBound, "backward", "ddpm.learned_variance"),
    (Hybrid, "backward", "ddpm.hybrid_gradient"),
    (Denoising, "value", "ncsn.dsm_eps"),
    (SlicedScoreMatching, "value", "score.sliced"),
    (Energy, "score", "score.logZ_free"),
    (EnergyLikelihood, "forward", "ebm.unnormalised"),
    (EnergyLikelihood, "backward", "ebm.likelihood_gradient"),
    (Preconditioned, "forward", "cm.boundary"),
    (Consistency, "step", "cm.training_is_eulers_step"),
    (ProgressiveDistillation, "aim", "distill.two_steps_in_one"),
    (GaussianPolicy, "backward", "vae.mse_is_gauss_mle"),
    (CategoricalPolicy, "forward", "il.categorical_density"),
    (Tightrope, "cost", "il.recovery"),
]


def scaled(y, factor: float):
    """Return y with every array and number in it times a factor."""
    if isinstance(y, dict):
        return {key: scaled(value, factor) for key, value in y.items()}
    if isinstance(y, tuple) and hasattr(y, "_fields"):
        return type(y)(*(scaled(value, factor) for value in y))
    if isinstance(y, tuple):
        return tuple(scaled(value, factor) for value in y)
    return factor * y if isinstance(y, float | np.ndarray) else y


def broken(f, factor: float = 1.1):
    def g(*args, **kwargs):
        return scaled(f(*args, **kwargs), factor)

    return g


def fails(id: str, old=None, new=None) -> bool:
    claim = BY_ID[id]
    if claim.right is old:
        claim = dataclasses.replace(claim, right=new)
    (verdict,) = verify([claim], cases=2).verdicts
    return not verdict.residual <= claim.tolerance


@pytest.mark.parametrize(("f", "id"), FUNCTIONS, ids=lambda x: getattr(x, "__name__", x))
def test_a_broken_function_makes_a_claim_fail(f, id, monkeypatch):
    assert not fails(id)
    new = broken(f)
    for name, module in list(sys.modules.items()):
        if name.startswith("refgen") and getattr(module, f.__name__, None) is f:
            monkeypatch.setattr(module, f.__name__, new)
    assert fails(id, f, new)


@pytest.mark.parametrize(("owner", "name", "id"), METHODS)
def test_a_broken_method_makes_a_claim_fail(owner, name, id, monkeypatch):
    assert not fails(id)
    monkeypatch.setattr(owner, name, broken(getattr(owner, name)))
    assert fails(id)
