"""Laws of one step: what guidance means, how fast a solver converges, where Langevin settles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refgen import ops
from refgen.noise import Noise

pytestmark = pytest.mark.tiny
DDPM = {"alpha": 0.9, "alpha_bar": 0.4, "sigma": 0.3}
DDIM = {"alpha_bar": 0.4, "alpha_bar_next": 0.7, "sigma": 0.2}
each_step = pytest.mark.parametrize(("name", "static"), [("ddpm_step", DDPM), ("ddim_step", DDIM)])


def answers(seed=0):
    """Return x, the answer with the label, the answer without, and a draw."""
    return Noise(seed).at("steps").normal((4, 5, 3), dtype=np.float64)


def guided(name, arrays, guidance, static):
    return getattr(ops, f"guided_{name}_forward")(*arrays, guidance=guidance, **static)[0]


def plain(name, x, noise_hat, noise, static):
    return getattr(ops, f"{name}_forward")(x, noise_hat, noise, **static)[0]


@each_step
def test_guidance_0_forgets_the_label_and_1_believes_the_network(name, static):
    """Bit for bit: what is not asked for has weight 0."""
    x, with_label, without, noise = arrays = answers()
    for guidance, answer in ((0.0, without), (1.0, with_label)):
        step = guided(name, arrays, guidance, static)
        assert np.array_equal(step, plain(name, x, answer, noise, static))


@each_step
@given(guidance=st.floats(-2, 20))
def test_a_guided_step_is_the_step_along_the_guided_answer(name, static, guidance):
    """In the three spellings of the lectures; w of the first is one less than γ."""
    x, with_label, without, noise = arrays = answers()
    step, w = guided(name, arrays, guidance, static), guidance - 1
    for along in (
        (1 + w) * with_label - w * without,
        guidance * with_label + (1 - guidance) * without,
        without + guidance * (with_label - without),
    ):
        np.testing.assert_allclose(step, plain(name, x, along, noise, static), atol=1e-12)


@each_step
def test_two_equal_answers_need_no_guidance(name, static):
    x, answer, _, noise = answers()
    for guidance in (0.0, 3.0, 20.0):
        step = guided(name, (x, answer, answer, noise), guidance, static)
        np.testing.assert_allclose(step, plain(name, x, answer, noise, static), atol=1e-13)


@each_step
def test_a_guided_draw_is_the_guided_step_with_that_noise(name, static):
    x, with_label, without, _ = answers()
    stream = (1, 2, 3, 4)
    noise = ops.normals(stream, 7, x.size).reshape(x.shape).astype(x.dtype)
    drawn = getattr(ops, f"guided_{name}_drawn")(
        x, with_label, without, stream, 7, guidance=2.5, **static
    )
    assert np.array_equal(drawn, guided(name, (x, with_label, without, noise), 2.5, static))


def test_a_guided_step_refuses_the_sigma_that_the_plain_one_refuses():
    with pytest.raises(ValueError, match="lower eta"):
        guided("ddim_step", answers(), 2.0, {**DDIM, "sigma": 0.9})
