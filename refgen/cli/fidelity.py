"""How near held-out pictures come back: enlarged from small ones, or decoded from their codes."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refgen.data import Dataset
    from refgen.noise import Noise
    from refgen.typing import Array

PICTURES = 64  # held-out ones that a finished run is asked for


def fidelity(system: Any, params: Any, dataset: "Dataset", noise: "Noise") -> list[str]:
    """Return a line on a system that enlarges, or on one that has codes; none on others."""
    from refgen import tree

    if dataset.kind != "images":
        return []
    here, truth = tree.map(system.ops.put, params), dataset.split()[1].data[:PICTURES]
    if hasattr(system, "enlarge"):
        found = enlarging(system, here, truth, noise)
        by = ", ".join(f"{value:.1f} dB by {way}" for way, value in found.items())
        return [f"{len(truth)} held-out images enlarged from 1/{system.factor} of their size: {by}"]
    if hasattr(system, "autoencoder"):
        back = decibels(reconstructed(system, here, truth), truth)
        return [f"{len(truth)} held-out images decoded from their codes: {back:.1f} dB"]
    return []


def decibels(found: "Array", truth: "Array") -> float:
    """Return the mean PSNR of pictures, limited to the range of the data first."""
    import numpy as np

    from refgen.metrics.psnr import psnr

    return float(np.mean(psnr(np.clip(found, -1, 1), truth)))


def enlarging(
    system: Any, params: Any, truth: "Array", noise: "Noise", *, draws: int = 1
) -> dict[str, float]:
    """Return the PSNR of bicubic, of one draw and, where there are more, of the mean of draws."""
    from refgen.data.resize import bicubic, reduce

    small = reduce(truth, system.factor)
    ways = {"bicubic": bicubic(small, system.factor)}
    for count in (1, draws)[: 1 + (draws > 1)]:
        drawn = system.enlarge(params, system.ops.put(small), noise, draws=count)
        ways["one draw" if count == 1 else f"the mean of {count}"] = system.ops.fetch(drawn)
    return {way: decibels(found, truth) for way, found in ways.items()}


def reconstructed(system: Any, params: Any, images: "Array") -> "Array":
    """Return images decoded from their codes."""
    model, own = system.autoencoder, params["autoencoder"]
    back: Array = system.ops.fetch(model.decode(own, model.encode(own, system.ops.put(images))))
    return back
