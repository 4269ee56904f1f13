"""What a finished run is told about itself: likelihood, the table of images, the modes of a toy."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refgen.data import Dataset
    from refgen.noise import Noise
    from refgen.systems import System
    from refgen.typing import Array

COUNT = 500  # images on either side of the table
POINTS = 2000


def judge(
    name: str, system: "System", params: Any, data: str, dataset: "Dataset", noise: "Noise"
) -> list[str]:
    """Return lines on a system with its averaged parameters; digits and toys have figures."""
    lines = likelihood(name, system, params, dataset, noise.at("likelihood"))
    if data == "digits":
        samples = system.sample(params, COUNT, noise.at("samples"))
        lines += images(name, samples, dataset, noise)
    elif data.startswith("toy:"):
        samples = system.sample(params, POINTS, noise.at("samples"))
        lines += points(samples, data.removeprefix("toy:"), noise)
    return lines


def likelihood(
    name: str, system: "System", params: Any, dataset: "Dataset", noise: "Noise"
) -> list[str]:
    """Return the mean bound or log-likelihood of held-out data, for the systems that have one."""
    import math

    _, held_out = dataset.split()
    one = "image" if dataset.kind == "images" else "point"
    if name not in ("vae", "realnvp"):
        return []
    found, _ = system.gradient(params, held_out.data, noise)  # type: ignore[attr-defined]
    nats = -float(found["loss"].mean(dtype="float64"))
    where = f"nats per {one}, mean of {len(held_out)} held out"
    if name == "vae":
        return [f"ELBO {nats:.2f} {where}"]
    lines = [f"log-likelihood {nats:.3f} {where}"]
    if dataset.levels > 1:
        size, width = math.prod(dataset.shape), 2 / (dataset.levels - 1)
        bits = -nats / size / math.log(2) - math.log2(width)
        lines.append(f"{bits:.3f} bits per dimension, uniform noise on {dataset.levels} levels")
    return lines


def images(name: str, samples: "Array", dataset: "Dataset", noise: "Noise") -> list[str]:
    """Return the table of samples and of the four rows that need no training.

    Of each set 500, judged against 500 held-out images. The row "real" is of 500 training images,
    with the rest as its training set: nothing else is left that is real.
    """
    import numpy as np

    from refgen.metrics import baselines, format_table, judge_table

    train, held_out = dataset.split()
    against = held_out.data[:COUNT]
    order = np.argsort(noise.at("order").uniform(len(train)), kind="stable")
    real, rest = train.data[order[:COUNT]], train.data[order[COUNT:]]
    assert train.labels is not None
    rows = baselines(train.data, train.labels, real, noise.at("baselines"), COUNT)
    rows.pop("real")
    table = judge_table({name: samples, **rows}, against, train.data, noise)
    table += judge_table({"real": real}, against, rest, noise)
    head = f"{COUNT} samples against {COUNT} held-out images, on pixels"
    return ["", head, *format_table(table).splitlines()]


def points(samples: "Array", name: str, noise: "Noise") -> list[str]:
    """Return the distance from the toy beside that of a second draw of it, and its modes."""
    import numpy as np

    from refgen.data.toys import toy
    from refgen.metrics import mode_statistics, sliced_wasserstein

    world = toy(name)
    real, other = (world.sample(len(samples), noise.at(which)) for which in ("real", "other"))
    model = sliced_wasserstein(samples, real, noise)
    floor = sliced_wasserstein(other, real, noise)
    lines = [
        f"squared sliced Wasserstein distance {model:.2e}; a second draw of the toy {floor:.2e}"
    ]
    if world.modes is not None:
        means, weights, std = world.modes
        found = mode_statistics(samples, means, weights, std)
        spread = found.spread[np.isfinite(found.spread)]
        wide = f"{spread.min():.2f} .. {spread.max():.2f}" if len(spread) else "unknown"
        lines += [
            f"modes covered {found.covered} of {len(means)}, samples outside every mode "
            f"{100 * found.outside:.1f} %",
            f"std within a mode {wide} of the true one, weights off by at most "
            f"{np.abs(found.deviation).max():.1f} standard errors",
        ]
    return lines
