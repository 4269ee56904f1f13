"""A contender is judged before it is timed, and one that computes something else is found."""

import numpy as np
import pytest

from benchmarks import calls, contenders_numba, contenders_numpy
from benchmarks.cases import Case
from benchmarks.judge import expect, expected_in, judge
from benchmarks.sizes import choose
from refgen import ops

EIGHT = {"N": 4, "H": 8, "W": 8, "S": (8, 8), "G": 8, "U": 3, "V": 3}
SMALL = [
    Case("normals", "", {"N": 1000}),
    Case("noising", "drawn", {"N": 5, "S": (7, 3)}),
    Case("ddpm_step", "drawn", {"N": 5, "S": (7, 3)}),
    Case("reparameterize_kl", "drawn", {"N": 4, "D": 30}),
    Case("reparameterize_kl", "backward", {"N": 4, "D": 30}),
    Case("adam_ema_step", "", {"N": 100, "S": ()}),
    *(
        Case("conv2d", call, {**EIGHT, "C": 16, "I": 16, "O": 32}, "", {"stride": 1, "padding": 1})
        for call in ("forward", "backward", "dgrad", "wgrad", "both")
    ),
    Case("upsample_conv2d", "backward", {**EIGHT, "C": 16, "O": 16}, "", {"padding": 1}),
    Case("group_norm_silu", "backward", {**EIGHT, "C": 16}, "", {"groups": 4}),
    Case("batch_norm", "backward", {**EIGHT, "C": 16}, "", {}),
    Case(
        "attention",
        "both",
        {"N": 2, "L": 5, "M": 5, "D": 8, "E": 8, "H": 2},
        "",
        {"heads": 2},
        ("mask",),
    ),
    Case("dense", "both", {"N": 6, "S": (), "I": 9, "O": 4}),
    Case("add", "", {"N": 2, "S": (3,), "C": 4}),
    Case("concat", "backward", {**EIGHT, "C": 5, "E": 3}),
    Case("vae", "train_step", {"N": 2, "S": (784,)}),
]
each = pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)


def outputs_of(contender, case):
    return contender.results(case, contender.prepare(case))


@each
@pytest.mark.parametrize("contender", [contenders_numpy, contenders_numba])
def test_a_right_contender_is_found_right(case, contender):
    outputs, noise = outputs_of(contender, case)
    verdict = judge(case, outputs, noise, expect(case))
    assert verdict.right
    assert verdict.rule in {"page", "winograd" if case.winograd else "page", "steps"}


@each
@pytest.mark.parametrize("which", [0, -1])
def test_a_wrong_contender_is_found_wrong(case, which):
    """One entry of one output, off by a thousandth of the largest."""
    outputs, noise = outputs_of(contenders_numpy, case)
    wrong = outputs[which].copy()
    wrong.flat[wrong.size // 2] += 1e-3 * max(1.0, np.abs(wrong).max())
    outputs[which] = wrong
    assert not judge(case, outputs, noise, expect(case)).right


def test_a_twin_may_not_err_where_only_pytorch_may():
    case = SMALL[1]
    outputs, _ = outputs_of(contenders_numpy, case)
    outputs[0] = outputs[0] + np.float32(5e-6 * np.abs(outputs[0]).max())
    assert not judge(case, outputs, None, expect(case)).right
    verdict = judge(case, outputs, None, expect(case), twin=False)
    assert (verdict.right, verdict.rule) == (True, "float32")


def test_winograds_rule_is_for_three_by_three_filters_alone():
    one = {**EIGHT, "C": 16, "I": 16, "O": 16, "U": 1, "V": 1}
    for case, right in (
        (SMALL[6], True),
        (Case("conv2d", "forward", one, "", {"stride": 1, "padding": 0}), False),
    ):
        outputs, _ = outputs_of(contenders_numpy, case)
        outputs[0] = outputs[0] + np.float32(8e-5 * outputs[0].std())
        verdict = judge(case, outputs, None, expect(case))
        assert (verdict.right, verdict.rule) == (right, "winograd" if right else "page")
        outputs[0] = outputs[0] + np.float32(4e-5 * outputs[0].std())
        assert not judge(case, outputs, None, expect(case)).right


def test_what_is_not_a_number_is_wrong():
    case = SMALL[1]
    outputs, _ = outputs_of(contenders_numpy, case)
    outputs[0] = np.full_like(outputs[0], np.nan)
    assert not judge(case, outputs, None, expect(case)).right


def test_results_of_another_shape_are_refused():
    case = SMALL[1]
    outputs, _ = outputs_of(contenders_numpy, case)
    with pytest.raises(ValueError, match="not"):
        judge(case, outputs[:1], None, expect(case))
    with pytest.raises(ValueError, match="not"):
        judge(case, [outputs[0].T, outputs[1]], None, expect(case))


def test_a_generator_with_the_wrong_variance_is_found_wrong():
    case = choose("normals", quick=True)[0][0]
    z = np.random.default_rng(0).normal(size=case.drawn())
    assert judge(case, [z], z, expect(case, z)).right
    assert not judge(case, [1.02 * z], z, expect(case, z)).right


def test_noise_of_another_generator_is_judged_with_that_noise():
    case = SMALL[1]
    noise = np.random.default_rng(0).normal(size=case.drawn()).astype(np.float32)
    data, a, b = case.arrays().values()
    x = ops.noising_forward(data, noise, a, b)[0]
    assert judge(case, [x, noise], noise, expect(case, noise)).right
    assert not judge(case, [x, noise], None, expect(case)).right


def test_what_is_expected_is_computed_once_and_kept(tmp_path):
    first, second = (expected_in(tmp_path, SMALL[10]) for _ in range(2))
    assert first.slack == second.slack
    for a, b in zip(first.gold, second.gold, strict=True):
        assert a.dtype == b.dtype == np.float64
        assert np.array_equal(a, b)


def test_a_table_without_the_function_is_skipped_with_its_name():
    class Bare:
        """A table of nothing."""

    with pytest.raises(calls.Skipped, match="noising_drawn"):
        calls.build(Bare(), SMALL[1], SMALL[1].arrays())


def test_a_convolution_without_gradients_of_its_own_is_skipped(monkeypatch):
    monkeypatch.setattr(calls, "PARTS", {"dgrad": ("nowhere",), "wgrad": ("nowhere",)})
    case = next(c for c in SMALL if c.call == "dgrad")
    with pytest.raises(calls.Skipped, match="nowhere"):
        calls.build(ops, case, case.arrays())


def test_an_update_goes_on_from_its_last_result():
    case = next(c for c in SMALL if c.op == "adam_ema_step")
    update = calls.build(ops, case, case.arrays())
    first, second = update(), update()
    assert not np.array_equal(first[0], second[0])


# PyTorch, where it is installed.


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is a baseline here")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)
    torch.set_grad_enabled(True)


@each
def test_pytorch_computes_the_same(case, torch):
    from benchmarks import contenders_torch

    outputs, noise = outputs_of(contenders_torch, case)
    expected = expect(case, noise)
    assert judge(case, outputs, noise, expected, twin=False).right


def test_every_case_is_written_in_pytorch(torch):
    from benchmarks import torch_ops

    for case in choose("", quick=False)[0]:
        name = case.name if case.call == "drawn" else case.op
        written = {*torch_ops.FUNCTIONS, "normals", "adam_ema_step"}
        assert case.whole or name in written, case.key


def test_an_op_that_is_not_written_in_pytorch_is_skipped(torch):
    from benchmarks import contenders_torch

    with pytest.raises(calls.Skipped, match="softplus"):
        contenders_torch.prepare(Case("softplus", "forward", {"N": 3, "S": ()}))
