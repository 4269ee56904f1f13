"""PyTorch as its users write it.

TORCH_COMPILE=1 compiles the same functions, TORCH_LAST=1 puts channels of images last in memory.

A forward is timed without autograd; a backward is autograd's alone, from one graph that is kept;
both is the two together. PyTorch draws from its own generator. To be judged, a drawing op is run
twice from one state of that generator: once to see the noise, once as it is timed. Compiled code
draws otherwise than it shows, so there the function is judged before it is compiled.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch._functorch.config

from benchmarks import steps_torch, torch_ops
from benchmarks.calls import PARTS, Call, Skipped
from benchmarks.cases import Case
from benchmarks.steps_torch import COMPILE, LAST
from benchmarks.torch_ops import Tensor
from refgen.typing import Array

VERSIONS = ("torch",)


def prepare(case: Case) -> Call:
    """Return what is timed, compiled. Raises Skipped for an op that is not written here."""
    torch.set_grad_enabled(False)  # for this process, which does nothing else
    if case.op == "normals":
        return lambda: torch.randn(case.dims["N"])
    call = steps_torch.build(case) if case.whole else _call(case, COMPILE)
    if COMPILE:
        call()
    return call


def results(case: Case, call: Call) -> tuple[list[Array], Array | None]:
    """Return the outputs and the noise they were made of."""
    if case.whole:
        return steps_torch.evidence(case), None
    noise = None
    if case.drawn():
        torch.manual_seed(3)
        noise = torch.randn(case.drawn()).numpy()
        torch.manual_seed(3)
        if COMPILE and case.op != "normals":
            call = _call(case, compiled=False)
    out = call()
    found = list(out) if isinstance(out, (tuple, list)) else [out]
    wrt = {"dgrad": ["x"], "wgrad": ["w", "b"]}.get(case.call, list(case.row.wrt))
    of_arguments = wrt if case.call in ("backward", "both", *PARTS) else []
    names = [""] * (len(found) - len(of_arguments)) + of_arguments
    return [torch_ops.array(case, n, x) for n, x in zip(names, found, strict=True)], noise


def about(case: Case) -> dict[str, object]:
    """Return a whole step's arithmetic, by PyTorch's own count."""
    return {"flops": steps_torch.flops(case)} if case.whole else {}


def _call(case: Case, compiled: bool) -> Call:
    """Return the call of an op."""
    inputs = {n: torch_ops.tensor(case, n, a, LAST) for n, a in case.arrays().items()}
    if case.op == "adam_ema_step":
        return _adam(inputs, **case.keywords())
    name = case.name if case.call == "drawn" else case.op
    if name not in torch_ops.FUNCTIONS:
        raise Skipped(f"{name} is not written in PyTorch here")
    function: Callable[..., Any] = torch_ops.FUNCTIONS[name]
    if compiled:
        torch._functorch.config.donated_buffer = False  # backward comes more than once
        function = torch.compile(function, fullgraph=True, dynamic=False)
    values, static = tuple(inputs.values()), case.keywords()
    if case.call in ("", "forward", "drawn"):
        return lambda: function(*values, **static)
    wrt = [inputs[n].requires_grad_() for n in case.row.wrt]

    def forward() -> list[Tensor]:
        with torch.enable_grad():
            out = function(*values, **static)
        return list(out) if isinstance(out, tuple) else [out]

    ys = forward()
    shapes = [torch_ops.array(case, "", y).shape for y in ys]
    dys = [torch_ops.tensor(case, "dy", d, LAST) for d in case.gradients(shapes)]
    if case.call in PARTS:
        return torch_ops.convolution_parts(case, dys[0], *(a.detach() for a in values[:2]))
    pairs = [(y, dy) for y, dy in zip(ys, dys, strict=True) if y.requires_grad]
    made, arriving = [y for y, _ in pairs], [dy for _, dy in pairs]
    if case.call == "backward":
        return lambda: torch.autograd.grad(made, wrt, arriving, retain_graph=True)

    def both() -> list[Tensor]:
        made = forward()
        return [*made, *torch.autograd.grad(made, wrt, arriving)]

    return both


def _adam(inputs: dict[str, Tensor], step: int, lr: float, decay: float) -> Call:
    """Use the fused optimizer, in place, and lerp for the average: what is fastest there."""
    p = torch.nn.Parameter(inputs["p"])
    p.grad = inputs["g"]
    optimizer = torch.optim.Adam([p], lr=lr, fused=True)
    count = torch.tensor(float(step - 1))
    optimizer.state[p] = {"step": count, "exp_avg": inputs["m"], "exp_avg_sq": inputs["v"]}
    average, current = inputs["average"], p.detach()

    def update() -> Any:
        optimizer.step()
        average.lerp_(current, 1 - decay)
        return current, inputs["m"], inputs["v"], average

    return update
