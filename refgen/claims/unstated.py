r"""What is true in a lecture only where something holds that it does not state.

Sources    ho2020-ddpm;  song2019-ncsn;  roberts1996-langevin;  goodfellow2014-gan

An assumption, a constant that was dropped, or a convention that differs from the next lecture's.
The printed form stands beside the one that is meant, as in errata.py; one check judges both.
"""

from functools import partial

import numpy as np

from refgen.claims import beds
from refgen.claims.claim import Erratum, Form
from refgen.claims.diffusion_bound import is_minus_elbo, three_terms
from refgen.claims.diffusion_reverse import var_bounds
from refgen.claims.diffusion_weights import mean_term, mean_weight, reweighted
from refgen.claims.fields import turning
from refgen.claims.gan import GAME
from refgen.claims.gan_dynamics import generator_slope, same_fixed_point
from refgen.claims.langevin import variance_after
from refgen.claims.likelihoods import mse_sum_is_sigma2_half
from refgen.claims.residual import gap
from refgen.claims.sampling import (
    jump_law,
    noisy_to_the_end,
    quiet_at_the_end,
    returns_datum,
    strided,
)
from refgen.claims.score import squared_errors
from refgen.exact import Mixture
from refgen.models import TimeMLP
from refgen.noise import Noise
from refgen.processes import Schedule
from refgen.samplers import sample_ancestral
from refgen.typing import Array

ROUNDING = 1e-9


def _becomes_noise(form: Form, noise: Noise) -> float:
    """Return KL[q(x_T | x_0) ‖ N(0, 1)] after T = 2000 steps β_t = form(t)."""
    x0 = 1 + float(noise.uniform(1)[0])
    schedule = Schedule("falling", np.append(0.0, form(np.arange(1, 2001))))
    keep = beds.kept(schedule, schedule.T)
    return beds.kl(keep**0.5 * x0, 1 - keep, 0.0, 1.0)


def _variance_of_sum(form: Form, noise: Noise) -> float:
    """Compare form(σ_1, σ_2, correlation) with the mean square of the sum, over signs."""
    first, second = (beds.between(noise.at(k), 0.5, 1.5) for k in ("first", "second"))
    rho = beds.between(noise.at("rho"), 0.3, 0.9)
    one, two = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.0, -1.0, 1.0, -1.0])
    total = first * one + second * (rho * one + (1 - rho**2) ** 0.5 * two)
    return gap(form(first, second, rho), np.mean(total**2))


def _arrives(form: Form, noise: Noise) -> float:
    """Compare the variance after K = 10⁴ Langevin steps of ε = form(K) with the target's."""
    var = beds.between(noise, 0.4, 0.8)
    return gap(variance_after(10_000, form(10_000), var, 3.0), var)


def _of_a_network(world: Mixture, x: Array, sigma: float) -> Array:
    """Return the score that a network with drawn parameters is taken for."""
    network = TimeMLP(2, hidden=6, blocks=1, embedding=4)
    params = beds.random_tree(network.init(Noise(0)), Noise(1))
    score: Array = -network.forward(params, x, np.full(len(x), 3))[0] / sigma
    return score


ERRATA: tuple[Erratum, ...] = (
    Erratum(
        "E08",
        'L4 "DDPM - Deriving Loss using Jensen\'s Inequality"',
        "‖σ_t I‖² is σ_t² in the operator norm only; the usual norm of a matrix gives D σ_t².",
        reweighted(lambda var, d: 1 / (2 * d * var)),
        mean_term,
        mean_weight,
        ROUNDING,
    ),
    Erratum(
        "E16",
        GAME,
        "The fixed point is the same, and the motion next to it; elsewhere the motion differs.",
        lambda a: generator_slope("minimax", a),
        lambda a: generator_slope("nonsaturating", a),
        same_fixed_point,
        ROUNDING,
    ),
    Erratum(
        "E19",
        'L3 "NCSN objective"',
        "Two objectives without their coefficients are not almost the same: 1 − ᾱ_t remains.",
        lambda s, of_datum, keep: np.sum((s - of_datum) ** 2),
        lambda s, of_datum, keep: (1 - keep) * np.sum((s - of_datum) ** 2),
        squared_errors,
        ROUNDING,
    ),
    Erratum(
        "E22",
        'L2 "Diffusion Models: Forward Diffusion Process"',
        "β_t in (0, 1) does not make x_T Gaussian noise: the sum of all β_t must be infinite.",
        lambda t: 1 / (t + 1) ** 2,
        lambda t: 1 / (t + 1),
        _becomes_noise,
        0.01,
    ),
    Erratum(
        "E24",
        'L4 "Denoising Diffusion Implicit Models", DDPM on a subsequence',
        "α_t belongs to one step; a jump needs the ratio of two ᾱ.",
        strided,
        lambda predict, x, s, noise, times: sample_ancestral(predict, x, s, noise, times=times),
        jump_law,
        ROUNDING,
    ),
    Erratum(
        "E25",
        'L4 "DDPM - Training and Sampling Algorithms"',
        "β_t and β̃_t are bounds for data of variance at most 1, which is said elsewhere.",
        lambda s: (s.posterior_var, s.beta, 10.0),
        lambda s: (s.posterior_var, s.beta, 1.0),
        var_bounds,
        ROUNDING,
    ),
    Erratum(
        "E27",
        'L3 "DDPM sampling" and "Classifier guidance", line 4',
        "No noise is added in the last step.",
        noisy_to_the_end,
        quiet_at_the_end,
        returns_datum,
        ROUNDING,
    ),
    Erratum(
        "E29",
        'L1 "[EXTRA] How about Prior matching Term?", the code of the loss',
        "A sum of squares is −log p for σ² = ½ only, and the slide leaves σ² free.",
        lambda: 1.0,
        lambda: 0.5,
        mse_sum_is_sigma2_half,
        ROUNDING,
    ),
    Erratum(
        "E31",
        'L1 "Basics: Combination of Gaussian Variables"',
        "Variances add where the two are independent, which is not said.",
        lambda a, b, rho: a * a + b * b,
        lambda a, b, rho: a * a + b * b + 2 * rho * a * b,
        _variance_of_sum,
        ROUNDING,
    ),
    Erratum(
        "E32",
        'L0 "ELBO Derivation"',
        "L_0 is +E log p here, −E log p in L1, L2, L4: added to the divergences it is wrong.",
        partial(three_terms, recon_sign=-1.0),
        three_terms,
        is_minus_elbo,
        ROUNDING,
    ),
    Erratum(
        "E33",
        'L0 "ELBO Derivation"; L4 "DDPM - Reparametrizing Model Prediction"',
        "C is left out; it is 0 for σ_t² = β̃_t only, and no constant when Σ_θ is learned.",
        lambda s, t, apart, var: np.sum(apart**2) / (2 * var),
        mean_term,
        mean_weight,
        ROUNDING,
    ),
    Erratum(
        "E34",
        'L4 "Langevin Dynamics"',
        "ε → 0 and K → ∞ are not enough: the walk must grow long, Kε → ∞.",
        lambda K: K**-2.0,
        lambda K: K**-0.5,
        _arrives,
        0.03,
    ),
    Erratum(
        "E35",
        'L3 "NCSN objective" and "DDPM sampling"',
        "−ε̂/√(1 − ᾱ) is a score at the optimum; a network's need not be a gradient at all.",
        _of_a_network,
        lambda world, x, sigma: -world.noise_mean(x, 1.0, sigma) / sigma,
        turning,
        1e-7,
    ),
)
