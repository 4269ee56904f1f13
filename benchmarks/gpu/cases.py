"""What is measured on a GPU: sizes that fill it, and the sweeps that the CPU is measured by.

The cases of a list stand in the order of their importance, since time on a GPU may be short.
"""

import dataclasses
import fnmatch
from collections.abc import Iterable
from typing import Any

from benchmarks import sizes
from benchmarks.cases import Case

N = 8192  # images of 32 x 32 x 3: 25 million numbers, 100 MB an array
IMAGES = {"N": N, "S": (32, 32, 3)}
FLAT = {"N": N, "D": 3072}
PARAMETERS = {"N": N * 3072, "S": ()}
SWEPT = (
    *("normals", "noising_drawn", "ddpm_step_drawn", "langevin_step_drawn"),
    *("reparameterize_kl_drawn", "ddim_step_drawn", "adam_ema_step"),
)
DDIM, EIGHT = sizes.DDIM, {"groups": 8}


def _image(batch: int, size: int, channels: int) -> dict[str, Any]:
    return {"N": batch, "H": size, "W": size, "S": (size, size), "C": channels}


def _conv(
    call: str, batch: int, size: int, c: int, o: int, k: int, stride: int, **more: Any
) -> Case:
    dims = {**_image(batch, size, c), "U": k, "V": k, "I": c, "O": o}
    note = f"{k}x{k}" + (f" to {o}" if o != c else "") + (f" s{stride}" if stride > 1 else "")
    return Case("conv2d", call, dims, note, {"stride": stride, "padding": (k - 1) // 2}, **more)


def _first() -> list[Case]:
    """Return what has a goal, one size each: --quick measures these."""
    found = [
        Case("noising", "drawn", IMAGES),
        Case("noising", "forward", IMAGES),
        Case("reparameterize_kl", "drawn", FLAT),
        Case("ddpm_step", "drawn", IMAGES),
        Case("ddim_step", "drawn", IMAGES, "eta 0", DDIM),
        Case("adam_ema_step", "", PARAMETERS),
        Case("group_norm_silu", "forward", {**_image(256, 32, 64), "G": 8}, "", EIGHT),
        Case("group_norm_silu", "backward", {**_image(256, 32, 64), "G": 8}, "", EIGHT),
        *(_conv(call, 256, 32, 64, 64, 3, 1) for call in ("forward", "dgrad", "wgrad")),
        Case("unet", "train_step", {"N": 64, "S": (32, 32, 3), "C": 64}, "c=64"),
        Case("normals", "", {"N": N * 3072}),
        Case("langevin_step", "drawn", IMAGES),
    ]
    return [dataclasses.replace(case, quick=True) for case in found]


def _more() -> list[Case]:
    guided = {"guidance": 2.5, **DDIM}
    walk = {"N": 16, "S": (32, 32, 3), "C": 32}
    found = [
        Case("unet", "sample", walk, "c=32, 50 steps"),
        Case("reparameterize_kl", "backward", FLAT),
        Case("guided_ddpm_step", "drawn", IMAGES),
        Case("guided_ddim_step", "drawn", IMAGES, "eta 0", guided),
        Case("heun_step", "forward", IMAGES),
        Case("euler_step", "forward", IMAGES),
        Case("unet", "train_step", {"N": 256, "S": (32, 32, 3), "C": 64}, "c=64"),
        Case("vae", "train_step", {"N": 128, "S": (784,)}),
    ]
    for call in ("forward", "backward"):
        film = {**_image(256, 32, 64), "G": 8}
        found.append(Case("group_norm_film_silu", call, film, "", EIGHT))
        for size, c in ((64, 128), (16, 256)):
            dims = {**_image(128, size, c), "G": 8}
            found.append(Case("group_norm_silu", call, dims, "", EIGHT))
    for size, c in ((64, 128), (16, 256)):
        found += [_conv(call, 128, size, c, c, 3, 1) for call in ("forward", "dgrad", "wgrad")]
    for call in ("forward", "backward"):
        tokens = {"N": 256, "S": (256,), "C": 256}
        heads = {"N": 256, "L": 256, "M": 256, "D": 128, "E": 128, "H": 4}
        twice = {**_image(256, 16, 128), "U": 3, "V": 3, "O": 64}
        four = {**_image(256, 16, 128), "U": 4, "V": 4, "I": 64, "O": 64}
        wide = {"N": 16384, "S": (), "I": 1024, "O": 1024, "A": 1}
        found += [
            _conv(call, 256, 32, 64, 128, 3, 2),
            _conv(call, 256, 32, 64, 64, 1, 1),
            Case("upsample_conv2d", call, twice, "3x3 to 64", {"padding": 1}),
            Case("conv_transpose2d", call, four, "4x4 to 64 s2", {"stride": 2, "padding": 1}),
            Case("attention", _both(call), heads, "4 heads of 32", {"heads": 4}, ("mask",)),
            Case("dense", call, wide, "to 1024"),
            Case("dense_act", call, wide, "to 1024 silu", {"activation": "silu"}),
            Case("layer_norm", call, tokens, "", {}),
            Case("batch_norm", call, _image(256, 32, 64), "", {}),
            Case("affine_coupling", call, {"N": 2**18, "D": 64}),
            Case("shift", call, _image(256, 32, 64)),
            Case("concat", call, {**_image(256, 32, 64), "E": 64}),
        ]
    return [
        *found,
        Case("squared_error", "both", {"N": N, "S": (32, 32, 3)}),
        Case("bernoulli_nll", "both", {"N": 2**15, "D": 784}),
        Case("add", "", _image(256, 32, 64)),
    ]


def _both(call: str) -> str:
    """Return what of attention is measured: nobody runs its backward without its forward."""
    return "both" if call == "backward" else call


def _sweeps() -> list[Case]:
    """Return the sizes that the CPU is measured by, to see where the GPU overtakes it."""
    found = [c for c in sizes.ALL if c.name in SWEPT and c.elements in sizes.SWEEP]
    return [dataclasses.replace(case, quick=False, sweep=True) for case in found]


def known(cases: Iterable[Case]) -> tuple[Case, ...]:
    """Return the cases that this version of refgen has, each once."""
    return tuple({case.key: case for case in cases if case.known()}.values())


ALL = known([*_first(), *_sweeps(), *_more()])
BY_KEY = {case.key: case for case in ALL}


def choose(pattern: str, quick: bool) -> list[Case]:
    """Return the cases whose name matches; a part of it will do."""
    return [c for c in ALL if fnmatch.fnmatch(c.name, f"*{pattern}*") and (c.quick or not quick)]
