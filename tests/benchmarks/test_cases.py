"""Cases come from the catalogue: what is measured, how much it moves and how much it computes."""

import numpy as np
import pytest

from benchmarks import counts, sizes
from benchmarks.cases import STREAM, Case
from benchmarks.contenders import CONTENDERS
from benchmarks.sizes import ALL, BY_KEY, choose
from refgen import ops

pytestmark = pytest.mark.tiny
OPS = [case for case in ALL if case.known() and not case.whole]


def find(name, label):
    return BY_KEY[f"{name}:{label}"]


def test_every_case_has_a_key_of_its_own():
    assert len(BY_KEY) == len([case for case in ALL if case.known()])


def test_every_op_is_in_the_table_or_is_reported_as_missing():
    for case in OPS:
        assert hasattr(ops, case.row.forward)
    known, missing = choose("", quick=False)
    assert {case.op for case in ALL} == {case.op for case in known} | set(missing)


def test_an_op_that_the_catalogue_lacks_is_skipped_and_named(monkeypatch):
    future = Case("future_op", "forward", {"N": 2})
    monkeypatch.setattr(sizes, "ALL", (*ALL, future))
    cases, missing = choose("", quick=False)
    assert future not in cases
    assert "future_op" in missing


def test_the_quick_cases_hold_every_kind_of_work():
    quick, _ = choose("", quick=True)
    assert {"normals", "noising", "adam_ema_step", "conv2d", "attention", "dense"} <= {
        case.op for case in quick
    }
    assert {"unet_train_step", "vae_train_step"} <= {case.name for case in quick}
    assert len(quick) < 32


def test_a_pattern_is_a_part_of_a_name():
    assert {case.name for case in choose("wgrad", quick=False)[0]} == {"conv2d_wgrad"}
    assert choose("convolution9", quick=False) == ([], [])


def test_every_process_draws_the_same_float32():
    for case in choose("", quick=True)[0]:
        if not case.whole:
            for a, b in zip(case.arrays().values(), case.arrays().values(), strict=True):
                assert a.dtype == np.float32
                assert np.array_equal(a, b)


# Bytes and FLOPs, known by hand.


def test_noising_reads_two_arrays_and_writes_one():
    counted = counts.counts(find("noising_forward", "64x32x32x3"))
    size = 64 * 3072
    assert (counted.reads, counted.writes) == ((size, size, 64, 64), (size,))
    assert counted.moved == 4 * (3 * size + 128)
    assert counted.flops == 0


def test_noise_that_is_drawn_inside_is_written_but_not_read():
    counted = counts.counts(find("noising_drawn", "64x32x32x3"))
    assert (counted.reads, counted.writes) == ((196608, 64, 64), (196608, 196608))


def test_adam_with_average_reads_five_arrays_and_writes_four():
    counted = counts.counts(find("adam_ema_step", "1000000"))
    assert (counted.reads, counted.writes) == ((10**6,) * 5, (10**6,) * 4)


def test_a_convolution_multiplies_every_pixel_with_every_filter():
    """64 images of 32 x 32 x 64, 64 filters of 3 x 3 x 64."""
    flops = 2 * 64 * 32 * 32 * 64 * (3 * 3 * 64)
    label = "64x32x32x64 3x3"
    for call, times in (("forward", 1), ("backward", 2), ("dgrad", 1), ("wgrad", 1)):
        assert counts.counts(find(f"conv2d_{call}", label)).flops == times * flops
    counted = counts.counts(find("conv2d_dgrad", label))
    assert (counted.reads, counted.writes) == ((64 * 65536, 36864), (64 * 65536,))


def test_a_stride_of_two_leaves_a_quarter_of_the_pixels():
    counted = counts.counts(find("conv2d_forward", "64x32x32x64 3x3 to 128 s2"))
    assert counted.writes == (64 * 16 * 16 * 128,)
    assert counted.flops == 2 * 64 * 16 * 16 * 128 * (3 * 3 * 64)


def test_an_enlarged_image_is_not_read_but_its_pixels_are_computed():
    counted = counts.counts(find("upsample_conv2d_forward", "64x16x16x64 3x3 to 32"))
    assert counted.reads[0] == 64 * 16 * 16 * 64
    assert counted.flops == 2 * 64 * 32 * 32 * 32 * (3 * 3 * 64)


def test_attention_multiplies_twice_forwards_and_five_times_backwards():
    """4 N heads L M D: q with k, and weights with v."""
    forward = 4 * 64 * 4 * 256 * 256 * 32
    label = "64x256x128 4 heads of 32"
    assert counts.counts(find("attention_forward", label)).flops == forward
    assert counts.counts(find("attention_both", label)).flops == 3.5 * forward


def test_outputs_are_known_without_running_the_whole_case():
    for case in OPS:
        if case.call in ("", "forward") and case.elements < 10**5 and case.op != "normals":
            result = getattr(ops, case.row.forward)(*case.arrays().values(), **case.keywords())
            found = result if type(result) is tuple else (result,)
            shapes = [a.shape for a in found if isinstance(a, np.ndarray)]
            assert counts.outputs(case) == shapes, case.key


# Contenders.


def test_kernels_leave_blas_one_thread():
    for name in ("numba", "numba-coretype"):
        assert CONTENDERS[name].environment["OPENBLAS_NUM_THREADS"] == "1"


def test_a_core_type_is_told_only_where_blas_works_and_never_alone():
    for case in choose("", quick=False)[0]:
        for name in ("numpy", "numba"):
            assert CONTENDERS[name].takes(case)
            by_blas = case.whole or case.op in ("dense", "dense_act")
            assert CONTENDERS[f"{name}-coretype"].takes(case) == by_blas


def test_layouts_are_a_choice_for_images_alone():
    takes = CONTENDERS["torch-last"].takes
    assert takes(find("group_norm_silu_forward", "64x32x32x64"))
    assert takes(find("unet_train_step", "64x32x32x3 c=32"))
    assert not takes(find("noising_forward", "64x32x32x3"))
    assert not takes(find("layer_norm_forward", "64x256x256"))


def test_the_stream_that_benchmarks_draw_from_is_fixed():
    assert STREAM == (0, *STREAM[1:])
    assert len(STREAM) == 4
