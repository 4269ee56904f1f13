"""Compile every kernel now: `refgen doctor --warm`.

A kernel is compiled for the types of what it is given, so each is run once, in both its forms,
on the smallest arrays that its op does not send to the page.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refgen.noise import Noise
from refgen.typing import Array
from refgen_kernels import numba_cpu as twin
from refgen_kernels.numba_cpu import conv
from refgen_kernels.numba_cpu.build import KERNELS, Kernel

STREAM = Noise(0).at("warming").stream


def warm_up() -> Iterator[tuple[str, int, int]]:
    """Compile op after op; yield (the op done, how many are done, how many there are)."""
    calls = _calls()
    Kernel.both = True
    try:
        for i, (name, call) in enumerate(calls.items(), 1):
            call()
            yield name, i, len(calls)
    finally:
        Kernel.both = False


def cold() -> list[str]:
    """Return the kernels that nothing in this process has compiled or loaded in both forms."""
    return sorted(
        f"{k.serial.py_func.__module__.rsplit('.', 1)[1]}.{k.serial.py_func.__name__}"
        for k in KERNELS
        if not (k.serial.signatures and k.parallel.signatures)
    )


def _calls() -> dict[str, Callable[[], Any]]:
    """Return a call for every op; backward comes with its forward."""
    x, image = _ones(8, 64), _ones(2, 8, 8, 16)
    large, small = _ones(64, 128), _ones(16)
    w, b = _ones(3, 3, 16, 16), small
    n = _ones(8)
    c = _ones(2, 16)
    tokens = _ones(1, 64, 16)
    ddpm: dict[str, Any] = {"alpha": 0.9, "alpha_bar": 0.5, "sigma": 0.1}
    ddim: dict[str, Any] = {"alpha_bar": 0.4, "alpha_bar_next": 0.5, "sigma": 0.1}
    guided: dict[str, Any] = {"guidance": 2.0}
    update: dict[str, Any] = {"step": 1, "lr": 0.1, "decay": 0.9}
    return {
        "normals": lambda: twin.normals(STREAM, 0, 64),
        "noising": lambda: (_both("noising", x, x, n, n), twin.noising_drawn(x, n, n, STREAM)),
        "reparameterize": lambda: twin.reparameterize_forward(x, x, x),
        "reparameterize_kl": lambda: (
            _both("reparameterize_kl", x, x, x),
            twin.reparameterize_kl_drawn(x, x, STREAM),
        ),
        "ddpm_step": lambda: (
            twin.ddpm_step_forward(x, x, x, **ddpm),
            twin.ddpm_step_drawn(x, x, STREAM, **ddpm),
        ),
        "ddim_step": lambda: (
            twin.ddim_step_forward(x, x, x, **ddim),
            twin.ddim_step_drawn(x, x, STREAM, **ddim | {"sigma": 0.0}),
        ),
        "guided_ddpm_step": lambda: (
            twin.guided_ddpm_step_forward(x, x, x, x, **guided, **ddpm),
            twin.guided_ddpm_step_drawn(x, x, x, STREAM, **guided, **ddpm),
        ),
        "guided_ddim_step": lambda: twin.guided_ddim_step_drawn(
            x, x, x, STREAM, **guided, **ddim | {"sigma": 0.0}
        ),
        "euler_step": lambda: twin.euler_step_forward(x, x, dt=0.1),
        "heun_step": lambda: twin.heun_step_forward(x, x, x, dt=0.1),
        "langevin_step": lambda: (
            twin.langevin_step_forward(x, x, x, step=0.1),
            twin.langevin_step_drawn(x, x, STREAM, step=0.1),
        ),
        "adam_ema_step": lambda: twin.adam_ema_step(x, x, x, x, x, **update),
        "affine_coupling": lambda: (
            _both("affine_coupling", x, x, x),
            twin.affine_coupling_inverse(x, x, x),
        ),
        "bernoulli_nll": lambda: _both("bernoulli_nll", x, x),
        "squared_error": lambda: _both("squared_error", x, x),
        "join": lambda: (
            twin.add(x, x),
            _both("shift", image, c),
            _both("concat", image, image),
        ),
        "dense": lambda: _both("dense", large, _ones(128, 128), _ones(128)),
        "dense_act": lambda: _both("dense_act", large, _ones(128, 128), _ones(128)),
        "relu": lambda: _both("relu", x),
        "conv2d": lambda: _both("conv2d", image, w, b, padding=1),
        "conv2d, colours": lambda: _both(
            "conv2d", _ones(2, 16, 16, 3), _ones(3, 3, 3, 16), b, padding=1
        ),
        "conv2d, exact": lambda: _exactly("conv2d", image, w, b, padding=1),
        "upsample_conv2d": lambda: _both("upsample_conv2d", image, w, b, padding=1),
        "group_norm": lambda: _both("group_norm", image, small, small, groups=4),
        "group_norm_silu": lambda: _both("group_norm_silu", image, small, small, groups=4),
        "group_norm_film_silu": lambda: _both(
            "group_norm_film_silu", image, small, small, c, c, groups=4
        ),
        "layer_norm": lambda: _both("layer_norm", tokens, small, small),
        "batch_norm": lambda: _both("batch_norm", image, small, small),
        "attention": lambda: _both("attention", tokens, tokens, tokens, heads=1),
    }


def _both(name: str, *inputs: Array, **static: Any) -> Any:
    *ys, cache = getattr(twin, f"{name}_forward")(*inputs, **static)
    backward = getattr(twin, f"{name}_backward", None)
    return backward and backward(*(np.ones_like(y) for y in ys), cache)


def _exactly(name: str, *inputs: Array, **static: Any) -> Any:
    with conv.exact():
        return _both(name, *inputs, **static)


def _ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)
