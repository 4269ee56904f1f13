"""What the kernels are meant to reach, and which rows reach it."""

import fnmatch
from collections.abc import Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]
KERNELS = ("cupy", "numba-cuda")
FULL = 10**8  # bytes moved: less is limited by the launch and by the ends of the grid
MOVED = (
    *("noising_*", "reparameterize_kl_*", "ddpm_step_*", "ddim_step_*", "guided_*_step_*"),
    *("euler_step_*", "heun_step_*", "langevin_step_*", "adam_ema_step"),
)
FORWARD, BACKWARD = ("group_norm*_silu_forward",), ("group_norm*_silu_backward",)
CONV = ("conv2d_*",)
COPY = "of_copy_kept"  # of all bytes, with those that a forward keeps for its backward


class Goal(NamedTuple):
    """A figure of a row, and how large it should be."""

    name: str
    ops: tuple[str, ...]
    figure: str
    wanted: float
    tried: float | None = None  # what would be better still
    precision: str = "fp32"


GOALS = (
    Goal("one pass: share of the copy bandwidth", MOVED, COPY, 0.85),
    Goal("one pass: speed of torch.compile", MOVED, "ratio_torch_compile", 1.0),
    Goal("group norm + SiLU: share of the copy bandwidth", FORWARD, COPY, 0.75),
    Goal("group norm + SiLU, backward: the same", BACKWARD, COPY, 0.65),
    Goal("convolution, fp32: speed of cuDNN", CONV, "ratio_cudnn", 0.6, 0.8),
    Goal("convolution, TF32: speed of cuDNN", CONV, "ratio_torch_tf32", 0.3, 0.5, "tf32"),
    Goal("convolution, bf16: speed of cuDNN", CONV, "ratio_torch_bf16", 0.3, 0.5, "bf16"),
    Goal("UNet step: speed of PyTorch eager", ("unet_train_step",), "ratio_torch_eager", 1.0),
)


def goals(rows: Sequence[Row]) -> list[Row]:
    """Return each goal with the rows of refgen's kernels that it is about, best and worst."""
    found = []
    for goal in GOALS:
        mine = [r for r in rows if r["backend"].startswith(KERNELS) and _about(goal, r)]
        backends = list(dict.fromkeys(r["backend"] for r in mine))
        found += [_reached(goal, b, [r for r in mine if r["backend"] == b]) for b in backends]
        found += [] if backends else [_reached(goal, "", [])]
    return found


def _reached(goal: Goal, backend: str, mine: Sequence[Row]) -> Row:
    values = sorted(r[goal.figure] for r in mine)
    missed = [f"{r['op']} {r['case']}" for r in mine if r[goal.figure] < goal.wanted]
    return {
        "goal": goal.name,
        "wanted": goal.wanted,
        "tried": goal.tried,
        "backend": backend,
        "rows": len(mine),
        "met": len(mine) - len(missed),
        "worst": values[0] if values else None,
        "best": values[-1] if values else None,
        "missed": missed,
    }


def _about(goal: Goal, row: Row) -> bool:
    """Tell whether a row was measured for a goal; the size must fill the device."""
    large = goal.figure != COPY or row["bytes"] >= FULL
    named = any(fnmatch.fnmatch(row["op"], pattern) for pattern in goal.ops)
    same = row["precision"] == goal.precision and not row["sweep"]
    return large and named and same and row.get(goal.figure) is not None
