"""PyTorch on a GPU, from the same arrays: eager, compiled, in either layout, fp32, TF32 or bf16.

A forward is timed without autograd. A backward is autograd's alone, from one graph that is kept.
PyTorch draws from its own generator, so a drawing op is run twice from one state of it to be
judged: once to see the noise. Compiled code draws otherwise than it shows, so there the function
is judged before it is compiled. Adam is the fused optimizer with lerp for the average; compiled it
is the same arithmetic written out, which becomes one kernel.
"""

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.calls import PARTS, Call, Skipped
from benchmarks.cases import Case
from benchmarks.gpu.contender import SETS, Loaded
from benchmarks.gpu.data import Data, judged
from benchmarks.gpu.device import Device
from benchmarks.gpu.device_cuda import Torch as TorchDevice
from refgen.typing import Array

Tensor = Any  # torch.Tensor; PyTorch need not be installed where types are checked
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


@dataclass
class Torch:
    """One way to run PyTorch. `where` is cuda, or cpu for a look at its formulas."""

    device: Device
    compiled: bool = False
    last: bool = False
    precision: str = "fp32"
    where: str = "cuda"
    twin: bool = False
    versions: tuple[str, ...] = ("torch", "triton")

    def __post_init__(self) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.ops: Any = importlib.import_module("benchmarks.torch_ops")
        self.torch.backends.cuda.matmul.allow_tf32 = self.precision != "fp32"
        self.torch.backends.cudnn.allow_tf32 = self.precision != "fp32"
        self.torch.backends.cudnn.benchmark = True

    def load(self, case: Case, data: Data) -> Loaded:
        """Prepare a case."""
        if case.whole:
            return self._whole(case)
        if case.op == "normals":
            count = case.dims["N"]
            call: Call = lambda: self.torch.randn(count, device=self.where)  # noqa: E731
            return Loaded([call], lambda: self._evidence(case, call), [], self._results)
        sets = [self._set(case, data) for _ in range(SETS)]
        built = [self._call(case, *one, self.compiled) for one in sets]
        plain = self._call(case, *self._set(case, data), False)
        judged_by = plain if self.compiled and case.drawn() else built[0]
        if case.op == "adam_ema_step":  # works in place: from fresh arrays
            judged_by = self._call(case, *self._set(case, data), self.compiled)
        inputs = [*sets[0][0].values(), *sets[0][1]]
        return Loaded(built, lambda: self._evidence(case, judged_by), inputs, self._results)

    def _set(self, case: Case, data: Data) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Send one set of inputs across, in PyTorch's layout."""

        def put(name: str, a: Array) -> Tensor:
            x = self.ops.tensor(case, name, a, self.last)
            return x.to(self.where, self.torch.bfloat16) if self._short else x.to(self.where)

        return {n: put(n, a) for n, a in data.arrays.items()}, [put("dy", a) for a in data.dys]

    @property
    def _short(self) -> bool:
        return self.precision == "bf16"

    def _results(self, result: Any) -> list[Tensor]:
        return list(result) if isinstance(result, tuple | list) else [result]

    def _evidence(self, case: Case, call: Call) -> tuple[list[Array], Array | None]:
        """Return results in refgen's layout, and the noise they were made of."""
        noise = None
        if case.drawn():
            self.torch.manual_seed(3)
            noise = self.torch.randn(case.drawn(), device=self.where).cpu().numpy()
            self.torch.manual_seed(3)
        out = self._results(call())
        wrt = {"dgrad": ["x"], "wgrad": ["w", "b"]}.get(case.call, list(case.row.wrt))
        of_arguments = wrt if case.call in ("backward", "both", *PARTS) else []
        names = [""] * (len(out) - len(of_arguments)) + of_arguments
        pairs = zip(names, out, strict=True)
        return [self.ops.array(case, n, x.detach().float().cpu()) for n, x in pairs], noise

    def _call(
        self, case: Case, inputs: dict[str, Tensor], dys: Sequence[Tensor], compiled: bool
    ) -> Call:
        """Return the call of an op."""
        static = case.keywords()
        if case.op == "adam_ema_step":
            return self._adam(inputs, compiled, **static)
        name = case.name if case.call == "drawn" else case.op
        if name not in self.ops.FUNCTIONS:
            raise Skipped(f"{name} is not written in PyTorch here")
        function: Callable[..., Any] = self.ops.FUNCTIONS[name]
        if compiled:
            importlib.import_module("torch._functorch.config").donated_buffer = False  # type: ignore[attr-defined]
            function = self.torch.compile(function, fullgraph=True, dynamic=False)
        values = tuple(inputs.values())
        if case.call in ("", "forward", "drawn"):

            def forward() -> Any:
                with self.torch.no_grad():
                    return function(*values, **static)

            return forward
        if case.call in PARTS:
            parts: Call = self.ops.convolution_parts(case, dys[0], *values[:2])
            return parts
        wrt = [inputs[n].requires_grad_() for n in case.row.wrt]

        def graph() -> list[Tensor]:
            return self._results(function(*values, **static))

        def gradients(made: list[Tensor]) -> list[Tensor]:
            pairs = [(y, dy) for y, dy in zip(made, dys, strict=True) if y.requires_grad]
            ys, arriving = [y for y, _ in pairs], [dy for _, dy in pairs]
            return list(self.torch.autograd.grad(ys, wrt, arriving, retain_graph=True))

        if case.call == "backward":
            kept = graph()
            return lambda: gradients(kept)

        def both() -> list[Tensor]:
            made = graph()
            return [*made, *gradients(made)]

        return both

    def _adam(
        self, given: dict[str, Tensor], compiled: bool, step: int, lr: float, decay: float
    ) -> Call:
        """Return the update of parameters and their average, in place."""
        torch, (p, g, m, v, average) = self.torch, given.values()
        if compiled:
            scale, root = lr / (1 - BETA1**step), (1 - BETA2**step) ** -0.5

            @torch.compile(fullgraph=True, dynamic=False)  # type: ignore[untyped-decorator, unused-ignore]
            def update(p: Tensor, g: Tensor, m: Tensor, v: Tensor, average: Tensor) -> None:
                m.mul_(BETA1).add_(g, alpha=1 - BETA1)
                v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
                p.sub_(scale * m / (v.sqrt() * root + EPS))
                average.mul_(decay).add_(p, alpha=1 - decay)

            def all_at_once() -> Any:
                update(p, g, m, v, average)
                return p, m, v, average

            return all_at_once
        parameter = torch.nn.Parameter(p)
        parameter.grad = g
        optimizer = torch.optim.Adam([parameter], lr=lr, fused=True)
        count = torch.tensor(float(step - 1), device=self.where)
        optimizer.state[parameter] = {"step": count, "exp_avg": m, "exp_avg_sq": v}

        def fused() -> Any:
            optimizer.step()
            average.lerp_(parameter.detach(), 1 - decay)
            return parameter.detach(), m, v, average

        return fused

    def _whole(self, case: Case) -> Loaded:
        theirs = importlib.import_module("benchmarks.gpu.torch_steps")
        few = judged(case)
        return Loaded(
            [theirs.build(self, case)],
            lambda: (theirs.evidence(self, few), None),
            about={"flops": theirs.flops(case)},
        )


def from_environment() -> Torch:
    """Return the way that TORCH_COMPILE, TORCH_LAST and TORCH_PRECISION ask for."""
    precision = os.environ.get("TORCH_PRECISION", "fp32")
    compiled, last = (bool(os.environ.get(f"TORCH_{n}")) for n in ("COMPILE", "LAST"))
    return Torch(TorchDevice(), compiled, last, precision)
