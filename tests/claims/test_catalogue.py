"""Every equation and every misprint found in the lectures has a claim of that name."""

import pytest

from refgen.claims import CLAIMS, ERRATA, select

pytestmark = pytest.mark.tiny

EQUATIONS = {
    "vae": """
        ae.recon_mse_grad ae.linear_pca vi.marginal_integral vi.bayes_evidence vi.elbo_jensen
        vi.gap_is_kl vi.elbo_max_is_posterior vae.elbo_recon_minus_kl vae.logp_threeterm
        vae.kl_diag_gaussian vae.kl_isotropic vae.kl_code_logvar vae.kl_univariate_general
        gauss.kl_full gauss.kl_same_var kl.discrete_nonneg vae.linear_recon_expect
        vae.mse_sum_is_sigma2_half vae.gauss_loglik vae.bce_bernoulli_grad mc.lln_se
        vae.grad_theta_linear vi.grad_param_dist vae.score_not_pathwise vae.reparam_grad
        gauss.reparam_sample
    """,
    "gan": """
        gan.optimal_D gan.value_js gan.disc_grad gan.sat_grad gan.nonsat_grad gan.real_label_bce
        gan.ns_equal_only_at_half gan.same_fixed_point gan.minimax_simultaneous
        gan.minimax_alternating gan.conditional
    """,
    "diffusion": """
        ddpm.forward_marginal ddpm.merge_gaussians gauss.sum ddpm.markov_x0 ddpm.forward_convergence
        ddpm.abar_monotone ddpm.prior_term ddpm.posterior_bayes ddpm.posterior_var
        ddpm.posterior_mean ddpm.posterior_mean_eps ddpm.eps_from_x0 ddpm.btilde1_zero
        ddpm.reverse_bayes ddpm.reverse_gauss_small_beta ddpm.elbo_three_terms ddpm.elbo_is_bound
        hvae.elbo ddpm.elbo_consistency_corr ddpm.Lt_mu_weight ddpm.Lt_x0_weight ddpm.Lt_eps_weight
        ddpm.Lsimple_grad ddpm.same_optimum ddpm.x0_pred_is_cond_mean ddpm.var_bounds
        ddpm.unit_variance_marginal ddpm.alg2_ancestral ddpm.stride_alpha_ratio sched.linear_abarT
        sched.cosine_is_cos2 sched.arc_uniform ddpm.alg2_rate_O(1/T)
    """,
    "score": """
        score.logZ_free ebm.unnormalised score.cond_gauss score.eps_relation
        ddpm.eps_pred_is_cond_mean score.tweedie score.Lt_score_weight score.simple_vs_ncsn_weight
        score.is_conservative score.vp_ve_rescale ve.forward_step sde.vp_limit ncsn.smoothed_gmm
        ncsn.dsm_equivalence ncsn.dsm_eps langevin.ula_bias ncsn.annealed_step_equiv
        ncsn.annealed_snr_const ddpm.ancestral_score_form
    """,
    "guidance": """
        guid.bayes_score guid.classifier_eps guid.gamma_sharpen guid.cfg_implicit_classifier
        guid.convention_map guid.cfg_w0 guid.cfg_gamma guid.cfg_velocity guid.uncond_is_resp_mixture
        guid.gamma1_is_diffusion guid.forward_cond_markov
    """,
    "sampling": """
        ddim.marginal_induction ddim.multistep_composes ddim.last_step_is_x0hat
        ddim.is_euler_in_sigma ddim.gaussian_exact_map ddim.order1_in_S
    """,
    "architectures": """
        arch.sinusoidal_shift arch.selfattn_W4 arch.attention_grad_q arch.transposed_conv_adjoint
        arch.batchnorm_grad arch.film_adaln_grad arch.temb_resblock_grad
    """,
    "conditional": """
        il.conditional_mle_counts il.goal_conditioned il.bc_gaussian_mle_is_ols vae.mse_is_gauss_mle
        il.compounding_quadratic cond.interfaces cond.concat_crossattn
    """,
}
LATER = {"E10", "E11", "E12"}  # of flow matching
MISPRINTS = {f"E{number:02d}" for number in range(1, 36)} - LATER
EACH = [id for block in EQUATIONS.values() for id in block.split()]


def test_an_equation_is_listed_once():
    assert len(EACH) == len(set(EACH))


@pytest.mark.parametrize("family", EQUATIONS)
def test_every_equation_of_a_family_is_a_claim(family):
    ids = {claim.id for claim in CLAIMS}
    assert [id for id in EQUATIONS[family].split() if id not in ids] == []


def test_an_equation_is_found_by_its_name():
    for id in EACH:
        assert id in [claim.id for claim in select(CLAIMS, [id])]


def test_every_misprint_is_shown():
    assert {erratum.id for erratum in ERRATA} >= MISPRINTS


def test_misprints_come_in_order():
    assert [erratum.id for erratum in ERRATA] == sorted(erratum.id for erratum in ERRATA)
