"""One table of all orders: how fast mean and covariance of a Gaussian world are met, with no draw.

Every sampler is affine there, so its moments are carried along exactly. The table of the chapter
says which order each has; fewer steps than the smallest size here have not settled on theirs.
"""

from itertools import pairwise

import numpy as np
import pytest

from refgen import check
from refgen.exact import Gaussian
from refgen.noise import Noise
from refgen.processes import VP, linear, log_uniform, sections, stride, times_on_path
from refgen.processes.spacing import SPACINGS
from refgen.samplers import (
    TABLEAUX,
    VARIANCES,
    ProbabilityFlow,
    inpaint,
    invert_ddim,
    sample_ancestral,
    sample_ancestral_learned,
    sample_ddim,
    sample_dpm_solver_2m,
    sample_dpm_solver_2s,
    sample_edm,
    sample_predictor_corrector,
    sample_probability_flow,
    sample_reverse_sde,
    solve_with_density,
    trace,
)
from tests.laws.affine import moments, off

WORLD = Gaussian(np.array([0.5, -0.3]), np.array([[0.6, 0.2], [0.2, 0.4]]))
VP20, END = VP(), 0.05
SCHEDULE = linear(4000, 0.1 / 4000, 20 / 4000)


def measured(sampled, start, end, sizes):
    """Return the order at which moments are met; start and end are (a, b) of the walk's ends."""
    errors = []
    for n in sizes:
        found = moments(
            lambda x, ops, n=n: sampled(x, ops, n),
            start[0] * WORLD.mean,
            start[0] ** 2 * WORLD.cov + start[1] ** 2 * np.eye(2),
        )
        errors.append(off(found, WORLD, *end))
    return check.order_of_convergence(sizes, errors)


def of_schedule(sampler, predict_of=lambda noise_hat: noise_hat, **how):
    """Return a sampler of whole levels on strides of one schedule: ratios, not single steps."""

    def sampled(x, ops, n):
        def predict(x, t):
            return predict_of(WORLD.noise_mean(x, SCHEDULE.signal(t), SCHEDULE.spread(t)))

        times = stride(SCHEDULE.T, n)
        return sampler(predict, x, SCHEDULE, Noise(0), times=times, ops=ops, **how)

    return sampled


ON_SCHEDULE = {
    **{f"ancestral, {name}": of_schedule(sample_ancestral, variance=name) for name in VARIANCES},
    "ancestral, learned": of_schedule(
        sample_ancestral_learned, lambda noise_hat: (noise_hat, 0 * noise_hat + 0.3)
    ),
    **{f"ddim, eta {eta}": of_schedule(sample_ddim, eta=eta) for eta in (0.0, 0.5, 1.0)},
}


@pytest.mark.parametrize("name", ON_SCHEDULE)
def test_a_sampler_of_levels_is_of_first_order_in_the_steps_of_a_stride(name):
    """With α_t of one level in place of the ratio the order is lost; it was measured as 0.63."""
    start = SCHEDULE.signal(SCHEDULE.T), SCHEDULE.spread(SCHEDULE.T)
    order = measured(ON_SCHEDULE[name], start, (1.0, 0.0), (250, 500, 1000, 2000))
    assert order == pytest.approx(1, abs=0.1)


def predict(x, t):
    a, b, _, _ = VP20.levels(t)
    return WORLD.noise_mean(x, float(a), float(b))


def even(n):
    return np.linspace(1.0, END, n + 1)


def even_in_log_snr(n):
    most, least = (float(at.b / at.a) for at in (VP20.levels(1.0), VP20.levels(END)))
    return times_on_path(VP20, log_uniform(n + 1, most, least)[:-1])


def flow(rule):
    return lambda x, ops, n: sample_probability_flow(
        predict, x, VP20, times=even(n), rule=rule, ops=ops
    )


ON_PATH = {
    **{f"flow, {rule}": (flow(rule), TABLEAUX[rule].order) for rule in TABLEAUX},
    "dpm-solver++ 2m": (
        lambda x, ops, n: sample_dpm_solver_2m(predict, x, VP20, times=even_in_log_snr(n)),
        2,
    ),
    "dpm-solver++ 2s": (
        lambda x, ops, n: sample_dpm_solver_2s(predict, x, VP20, times=even_in_log_snr(n)),
        2,
    ),
    "reverse sde": (
        lambda x, ops, n: sample_reverse_sde(predict, x, VP20, Noise(0), times=even(n), ops=ops),
        1,
    ),
    "predictor": (
        lambda x, ops, n: sample_predictor_corrector(
            predict, x, VP20, Noise(0), times=even(n), corrections=0, ops=ops
        ),
        1,
    ),
}
SIZES = {1: (128, 256, 512), 2: (128, 256, 512), 4: (64, 128, 256)}


@pytest.mark.parametrize("name", ON_PATH)
def test_a_sampler_of_a_path_has_its_order(name):
    sampled, order = ON_PATH[name]
    start, end = (tuple(float(v) for v in VP20.levels(t)[:2]) for t in (1.0, END))
    assert measured(sampled, start, end, SIZES[order]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("churn", [0.0, 8.0])
def test_edm_is_of_second_order_with_churn_too(churn):
    """Noise that is put in is exact, whatever its amount; what is left is Heun's error."""

    def sampled(x, ops, n):
        power = 1 / 7
        sigmas = np.linspace(8.0**power, 0.05**power, n + 1) ** 7
        return sample_edm(
            lambda x, sigma: WORLD.data_mean(x, 1.0, sigma),
            x,
            sigmas.tolist(),
            Noise(0),
            churn=churn,
            ops=ops,
        )

    order = measured(sampled, (1.0, 8.0), (1.0, 0.05), (64, 128, 256))
    assert order == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("rule", TABLEAUX)
def test_the_integral_of_a_divergence_is_of_the_rules_order(rule):
    """A Gaussian's flow stretches every direction by the ratio of its spreads."""
    step = np.linalg.inv
    values = np.linalg.eigvalsh(WORLD.cov)

    def jacobian(t):
        a, b, _, _ = VP20.levels(t)
        return float(b) * step(a * a * WORLD.cov + b * b * np.eye(2))

    field = ProbabilityFlow(VP20, predict, lambda x, t: (predict(x, t), lambda e: e @ jacobian(t)))
    spreads = [
        np.sqrt(float(at.a) ** 2 * values + float(at.b) ** 2)
        for at in (VP20.levels(END), VP20.levels(1.0))
    ]
    exact = np.sum(np.log(spreads[1] / spreads[0]))
    errors, sizes = [], SIZES[TABLEAUX[rule].order]
    for n in sizes:
        x = np.array([[0.3, -0.4]])
        _, found = solve_with_density(field, x, even(n)[::-1], rule=rule)
        errors.append(abs(found[0] - exact))
    order = check.order_of_convergence(sizes, errors)
    assert order == pytest.approx(TABLEAUX[rule].order, abs=0.1)


# Calls of what has no row in the table of every sampler.


def lists(T):
    """Return every list of every spacing, and parts that are visited unevenly."""
    for steps in range(1, T + 1):
        for spacing in SPACINGS.values():
            yield spacing(T, steps)
    yield from (times for times in (sections(T, (1, 3)), sections(T, (3, 1, 2))) if times[0] == T)


def test_inversion_and_inpainting_call_the_network_as_often_as_their_pages_say():
    schedule, x = linear(9, 0.02, 0.4), np.ones((1, 2))
    for times in lists(9):
        if times[0] != 9:
            continue  # they walk from T
        steps = len(times) - 1
        for rounds in (1, 3):
            asked, visited = trace(lambda x, t: 0.1 * x)
            invert_ddim(asked, x, schedule, times=times, rounds=rounds)
            assert len(visited) == rounds * steps
            asked, visited = trace(lambda x, t: 0.1 * x)
            inpaint(
                asked,
                x,
                schedule,
                Noise(0),
                known=x,
                mask=np.array([1.0, 0.0]),
                times=times,
                rounds=rounds,
            )
            assert len(visited) == rounds * (steps - 1) + 1


def test_a_list_that_falls_is_walked_pair_by_pair():
    """Each call is at the start of a pair: never at 0, and never twice at one time."""
    for times in lists(9):
        if times[0] != 9:
            continue
        asked, visited = trace(lambda x, t: 0.1 * x)
        sample_ddim(asked, np.ones((1, 2)), linear(9, 0.02, 0.4), Noise(0), times=times)
        assert [t for t, _ in visited] == [t for t, _ in pairwise(times)]
