"""How products are cut, chosen and compiled: plans, precisions and variants."""

from types import SimpleNamespace

import pytest

from refgen_kernels.cupy_cuda import products
from refgen_kernels.device import products as plans
from refgen_kernels.device.products import Shape, Sizes, precision
from tests.kernels.cuda import nvrtc
from tests.kernels.cuda.host import compiler
from tests.kernels.cuda.machines import SANITIZE
from tests.kernels.cuda.test_cuda_products import TABLE, filters
from tests.kernels.judging import same_bits

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no g++, which runs .cu files here")

# Plans.


@pytest.mark.parametrize("name", ["correlate", "collect", "dense"])
def test_a_plan_fills_the_device_where_there_is_enough_to_do(name):
    shape = {
        "correlate": Shape(16 * 8 * 8, 256, 9 * 256, along=(256,), across=(256,)),
        "collect": Shape(9 * 128, 128, 128 * 32 * 32, along=(), across=(128, 128)),
        "dense": Shape(64, 512, 4096, along=(4096,), across=(512,)),
    }[name]
    plan = plans._plan(products.CU, shape)
    blocks = plan.tiles * plan.parts
    stages = -(-shape.depth // plan.tiling.depth)
    assert 100 <= blocks <= 4 * plans.MULTIPROCESSORS
    assert (plan.parts - 1) * plan.deep < stages <= plan.parts * plan.deep


def test_a_large_product_is_not_cut_and_takes_large_tiles():
    shape = Shape(128 * 32 * 32, 128, 9 * 128, along=(128,), across=(128,))
    plan = plans._plan(products.CU, shape)
    assert (plan.tiling.side, plan.parts) == (128, 1)
    thin = shape._replace(columns=64, across=(64,))
    assert plans._plan(products.CU, thin).tiling.side == 64


def test_more_elements_than_an_int_counts_are_not_counted():
    sizes = Sizes(2**11, (2**5, 2**5), 3, (2**5, 2**5), 2**10, (3, 3))
    assert not sizes.countable
    assert sizes._replace(n=2**10).countable


# Precisions.


@needs_compiler
def test_a_precision_ends_with_its_block_and_channels_that_do_not_fit_stay_in_float32():
    inputs = filters((3, 3), 12, 8, 1, 6, 6)
    exact, _ = TABLE.conv2d_forward(**inputs)
    with precision("bf16"):
        assert same_bits(TABLE.conv2d_forward(**inputs)[0], exact)  # 12 is no multiple of 8
        with precision("tf32"):
            assert not same_bits(TABLE.conv2d_forward(**inputs)[0], exact)
    assert same_bits(TABLE.conv2d_forward(**inputs)[0], exact)


@needs_compiler
def test_an_unknown_precision_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="no precision 'fp16'; there are fp32, tf32, bf16"):
        with precision("fp16"):
            pass
    monkeypatch.setattr(plans, "_chosen", SimpleNamespace(get=lambda: "half"))  # REFGEN_CUDA_MATH
    with pytest.raises(ValueError, match="no precision 'half'"):
        TABLE.conv2d_forward(**filters((3, 3), 4, 4, 1, 6, 6))


# What each variant takes of a multiprocessor.


VARIANTS = [(64, True, "fp32"), (64, False, "fp32")]  # and the one of test_cuda_compiles
VARIANTS += [(side, True, math) for side in (128, 64) for math in ("tf32", "bf16")]


@pytest.mark.skipif(isinstance(nvrtc.library(), str) or SANITIZE != "", reason="no NVRTC")
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_variant_compiles_without_a_spill(variant):
    text, tensor = products.variant(*variant).text, variant[2] != "fp32"
    for target in ("sm_80" if tensor else "sm_75", "sm_90"):
        found = nvrtc.compiled(text, target)
        assert found.keys() == products.CU.kernels.keys()
        for name, use in found.items():
            assert (use.spilled, use.registers <= 128) == (0, True), f"{name} on {target}: {use}"
    ptx = nvrtc.ptx(text)
    assert ".f64" not in ptx
    assert ("mma.sync" in ptx) == tensor
    if tensor:
        with pytest.raises(nvrtc.CompileError, match=r"capability 8\.0"):
            nvrtc.compiled(text, "sm_75")
