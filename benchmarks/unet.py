r"""The UNet whose steps are timed: two levels, four blocks, no attention, over any table of ops.

Shapes     N batch, H, W image, 3 colours, c channels above, 2c below, E = 128 of the embedding.
           x, y, dy : (N, H, W, 3)    t : (N,)

    e = silu(W₂ silu(W₁ PE(t)))
    h = before(first(x), e)                                       c channels
    g = middle1(middle0(halve(h), e), e)                          2c channels, half the size
    y = last(silu(norm(after([enlarge(g), h], e))))                c channels

It is the smallest network with everything that a diffusion model's UNet spends its time on, and
unet_torch.py is the same one, from the same weights.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refgen import ops as reference
from refgen import tree
from refgen.layers import Conv2d, Double, GroupNormSilu, ResBlock
from refgen.layers.condition import Condition
from refgen.noise import Noise
from refgen.ops.protocol import Ops
from refgen.typing import Array, Cache, Grads, Params

COLOURS, EMBEDDING, GROUPS = 3, 128, 8


@dataclass(frozen=True)
class UNet:
    """A noise predictor, (N, H, W, 3) and (N,) -> (N, H, W, 3)."""

    channels: int
    ops: Ops = field(default=reference, repr=False, compare=False)

    def init(self, noise: Noise) -> Params:
        """Draw every filter, also those that training would start at 0: all gradients count."""
        params = {name: layer.init(noise.at(name)) for name, layer in self._layers().items()}
        flat = tree.flatten(params)
        for path, w in flat.items():
            if path.endswith("/w") and not w.any():
                flat[path] = noise.at(path).normal(w.shape) / np.sqrt(w[..., 0].size)
        return tree.unflatten(flat)

    def forward(self, params: Any, x: Array, t: Array) -> tuple[Array, Cache]:
        """Return (y, cache)."""
        run, cache = self._layers(), dict[str, Cache]()

        def layer(name: str, *inputs: Array) -> Any:
            y, cache[name] = run[name].forward(params[name], *inputs)
            return y

        e = layer("condition", t.astype(x.dtype))
        h = layer("before", layer("first", x), e)
        g = layer("middle1", layer("middle0", layer("halve", h), e), e)
        joined, cache["join"] = self.ops.concat_forward(layer("enlarge", g), h)
        y = layer("last", layer("norm", layer("after", joined, e)))
        return y, cache

    def backward(self, dy: Array, cache: Cache) -> tuple[Array, Grads]:
        """Return (dx, grads)."""
        run, grads, de = self._layers(), dict[str, Any](), list[Array]()

        def layer(name: str, dy: Array) -> Any:
            dx, *extra, grads[name] = run[name].backward(dy, cache[name])
            de.extend(extra)
            return dx

        djoined = layer("after", layer("norm", layer("last", dy)))
        dg, dh = self.ops.concat_backward(djoined, cache["join"])
        dg = layer("middle0", layer("middle1", layer("enlarge", dg)))
        dh = self.ops.add(layer("halve", dg), dh)
        dx = layer("first", layer("before", dh))
        grads["condition"] = run["condition"].backward(sum(de[1:], start=de[0]), cache["condition"])
        return dx, grads

    def _layers(self) -> dict[str, Any]:
        c, ops = self.channels, self.ops

        def block(inputs: int, outputs: int) -> ResBlock:
            return ResBlock(inputs, outputs, EMBEDDING, GROUPS, ops=ops)

        return {
            "condition": Condition(c, EMBEDDING, ops=ops),
            "first": Conv2d(COLOURS, c, ops=ops),
            "before": block(c, c),
            "halve": Conv2d(c, 2 * c, stride=2, ops=ops),
            "middle0": block(2 * c, 2 * c),
            "middle1": block(2 * c, 2 * c),
            "enlarge": Double(2 * c, c, ops=ops),
            "after": block(2 * c, c),
            "norm": GroupNormSilu(c, GROUPS, ops=ops),
            "last": Conv2d(c, COLOURS, ops=ops),
        }
