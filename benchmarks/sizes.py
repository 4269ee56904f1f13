"""What is measured: sizes of small models on 28 x 28 and 32 x 32 images, and sweeps of sizes."""

import fnmatch
from itertools import chain
from typing import Any

from benchmarks.cases import Case

DDIM = {"alpha_bar": 0.4, "alpha_bar_next": 0.45, "sigma": 0.0}  # deterministic: nothing is drawn
IMAGES, LARGE = (64, (32, 32, 3)), (256, (64, 64, 3))
SWEEP = (10**4, 10**5, 10**6, 10**7)


def _image(batch: int, size: int, channels: int) -> dict[str, Any]:
    return {"N": batch, "H": size, "W": size, "S": (size, size), "C": channels}


def _noise() -> list[Case]:
    sizes = [64 * 3072, *SWEEP]
    return [Case("normals", "", {"N": n}, quick=i == 0, sweep=i > 0) for i, n in enumerate(sizes)]


def _elementwise() -> list[Case]:
    """Noising, steps of samplers, losses and the coupling: one pass over memory each."""
    cases = []
    for (n, s), quick in ((IMAGES, True), (LARGE, False)):
        dims = {"N": n, "S": s}
        guided = {"guidance": 2.5, **DDIM}
        cases += [
            Case("noising", "forward", dims),
            Case("noising", "drawn", dims, quick=quick),
            Case("ddpm_step", "drawn", dims, quick=quick),
            Case("ddim_step", "drawn", dims, "eta 0", DDIM, quick=quick),
            Case("guided_ddpm_step", "drawn", dims),
            Case("guided_ddim_step", "drawn", dims, "eta 0", guided),
            Case("euler_step", "forward", dims),
            Case("heun_step", "forward", dims, quick=quick),
            Case("langevin_step", "drawn", dims, quick=quick),
            Case("squared_error", "both", {**dims, "D": n}),
        ]
    for n, d in ((64, 3072), (512, 32)):
        dims, quick = {"N": n, "D": d}, d == 3072
        cases += [
            Case("reparameterize_kl", "drawn", dims, quick=quick),
            Case("reparameterize_kl", "backward", dims, quick=quick),
        ]
    cases += [Case("bernoulli_nll", "both", {"N": n, "D": 784}) for n in (32, 128, 1024)]
    cases += [Case("affine_coupling", c, {"N": 4096, "D": 64}) for c in ("forward", "backward")]
    return cases


def _sweeps() -> list[Case]:
    """One row of numbers, from 10⁴ to 10⁷, for the curves of time against size."""
    one = {n: {"N": n, "S": ()} for n in SWEEP}
    flat = {n: {"N": 16, "S": (n // 16,)} for n in SWEEP}
    return [
        *(Case("noising", "drawn", flat[n], sweep=True) for n in SWEEP),
        *(Case("ddpm_step", "drawn", flat[n], sweep=True) for n in SWEEP),
        *(Case("ddim_step", "drawn", flat[n], "eta 0", DDIM, sweep=True) for n in SWEEP),
        *(Case("langevin_step", "drawn", flat[n], sweep=True) for n in SWEEP),
        *(Case("reparameterize_kl", "drawn", {"N": 16, "D": n // 16}, sweep=True) for n in SWEEP),
        *(Case("adam_ema_step", "", one[n], quick=n == 10**6, sweep=n < 10**6) for n in SWEEP),
    ]


def _conv(call: str, size: int, c: int, o: int, k: int, stride: int, **more: Any) -> Case:
    dims = {**_image(64, size, c), "U": k, "V": k, "I": c, "O": o}
    note = f"{k}x{k}" + (f" to {o}" if o != c else "") + (f" s{stride}" if stride > 1 else "")
    return Case("conv2d", call, dims, note, {"stride": stride, "padding": (k - 1) // 2}, **more)


def _convolutions() -> list[Case]:
    cases = []
    for size, c in ((28, 32), (32, 64), (16, 128), (8, 256)):
        for call in ("forward", "backward", "dgrad", "wgrad"):
            quick = size == 28 and call != "backward"
            cases.append(_conv(call, size, c, c, 3, 1, quick=quick))
    for call in ("forward", "backward"):
        cases += [
            _conv(call, 32, 64, 128, 3, 2, quick=call == "forward"),
            _conv(call, 32, 64, 64, 1, 1, quick=call == "forward"),
        ]
        four = {**_image(64, 16, 128), "U": 4, "V": 4, "I": 64, "O": 64}
        twice = {"stride": 2, "padding": 1}
        cases.append(Case("conv_transpose2d", call, four, "4x4 to 64 s2", twice))
        for size, c, o in ((16, 128, 64), (16, 64, 32)):
            dims = {**_image(64, size, c), "U": 3, "V": 3, "O": o}
            quick = c == 64 and call == "forward"
            cases.append(
                Case("upsample_conv2d", call, dims, f"3x3 to {o}", {"padding": 1}, quick=quick)
            )
    return cases


def _normalizations() -> list[Case]:
    cases = []
    for call in ("forward", "backward"):
        for size, c in ((28, 32), (32, 64), (16, 128), (8, 256)):
            dims, eight = {**_image(64, size, c), "G": 8}, {"groups": 8}
            cases += [
                Case("group_norm_silu", call, dims, "", eight, quick=size == 28),
                Case("group_norm_film_silu", call, dims, "", eight),
            ]
        tokens = {"N": 64, "S": (256,), "C": 256}
        cases += [
            Case("layer_norm", call, tokens, "", {}),
            Case("batch_norm", call, _image(64, 16, 128), "", {}),
        ]
    return cases


def _attention() -> list[Case]:
    """Tokens and heads of a UNet's lower levels and of small transformers."""
    cases = []
    for n, heads, tokens, d in ((64, 4, 256, 32), (64, 1, 256, 128), (64, 4, 64, 32)):
        dims = {"N": n, "L": tokens, "M": tokens, "D": heads * d, "E": heads * d, "H": heads}
        for call in ("forward", "both"):
            static, quick = {"heads": heads}, (heads, tokens) == (1, 256)
            note = f"{heads} heads of {d}" if heads > 1 else "1 head"
            cases.append(Case("attention", call, dims, note, static, ("mask",), quick=quick))
    return cases


def _dense() -> list[Case]:
    cases = []
    for n, i, o in ((128, 784, 256), (4096, 256, 256), (1024, 1024, 1024)):
        dims = {"N": n, "S": (), "I": i, "O": o, "A": 1}
        for call in ("forward", "backward"):
            note, quick = f"to {o}", n == 4096 and call == "forward"
            cases += [
                Case("dense", call, dims, note, quick=quick),
                Case("dense_act", call, dims, f"{note} silu", {"activation": "silu"}),
            ]
    return cases


def _joins() -> list[Case]:
    dims = {**_image(64, 32, 64), "E": 64}
    return [
        Case("add", "", dims),
        *(Case(op, call, dims) for op in ("shift", "concat") for call in ("forward", "backward")),
    ]


def _whole() -> list[Case]:
    """Return a diffusion model's training step and sampling, and a VAE's training step."""
    unet = [{"N": 64, "S": (32, 32, 3), "C": c} for c in (32, 64)]
    walk = {"N": 16, "S": (32, 32, 3), "C": 32}
    return [
        *(Case("vae", "train_step", {"N": n, "S": (784,)}, quick=n == 32) for n in (32, 128)),
        *(Case("unet", "train_step", d, f"c={d['C']}", quick=d["C"] == 32) for d in unet),
        Case("unet", "sample", walk, "c=32, 50 steps"),
    ]


GROUPS = (_noise, _elementwise, _sweeps, _convolutions, _normalizations, _attention, _dense)
ALL = tuple(chain.from_iterable(group() for group in (*GROUPS, _joins, _whole)))
BY_KEY = {case.key: case for case in ALL if case.known()}


def choose(pattern: str, quick: bool) -> tuple[list[Case], list[str]]:
    """Return the cases whose name matches, a part will do, and the ops that refgen lacks."""
    wanted = [c for c in ALL if fnmatch.fnmatch(c.name, f"*{pattern}*") and (c.quick or not quick)]
    return [c for c in wanted if c.known()], sorted({c.op for c in wanted if not c.known()})
