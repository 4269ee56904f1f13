"""The table of an image system, with the four rows that need no training.

Shapes     images : (N, H, W, C) or (N, D)    labels : (N,) integers

A figure says little by itself: sliced Wasserstein alone prefers a Gaussian to a good diffusion
model, precision alone prefers copies. So the table always carries the same company.

    gaussian         one Gaussian with the mean and full covariance of the training images
    class gaussians  one for each class, in the proportion of the classes
    copies           training images, drawn without replacement where there are enough
    real             further held-out images: what a perfect generator would get

Samples of a Gaussian are not clipped to the range of the pixels.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from refgen.exact.gaussian import Gaussian
from refgen.metrics.images import (
    Features,
    copy_ratio,
    flat,
    frechet_distance,
    knn_precision_recall,
    one_nn_accuracy,
)
from refgen.metrics.points import sliced_wasserstein
from refgen.noise import Noise
from refgen.typing import Array

Row = dict[str, str | float]


def baselines(
    train: Array, labels: Array, real: Array, noise: Noise, count: int
) -> dict[str, Array]:
    """Return the samples of the four rows that need no training, each (count, ...).

    real are held-out images other than those that the table judges against. Raises ValueError
    when there are fewer than count of them.
    """
    if len(real) < count:
        raise ValueError(f"{count} real images are needed, there are {len(real)}: lower count")
    rows = flat(train)
    shape = (count, *train.shape[1:])
    class_of = labels[noise.at("class").integers(len(labels), count)]
    by_class = np.empty((count, rows.shape[1]))
    for c in np.unique(class_of):
        chosen = class_of == c
        fitted = Gaussian.fit(rows[labels == c])
        by_class[chosen] = fitted.sample(int(np.sum(chosen)), noise.at("class", int(c)))
    order = np.argsort(noise.at("copies").uniform(len(train)), kind="stable")
    return {
        "gaussian": Gaussian.fit(rows).sample(count, noise.at("gaussian")).reshape(shape),
        "class gaussians": by_class.reshape(shape),
        "copies": train[np.resize(order, count)],
        "real": real[:count],
    }


def judge_table(
    samples: Mapping[str, Array],
    held_out: Array,
    train: Array,
    noise: Noise,
    *,
    features: Features | None = None,
    classify: Callable[[Array], Array] | None = None,
) -> list[Row]:
    """Return one row for each named set of samples, judged against as many held-out images.

    features (images -> (N, F)) serve every column but sliced, which looks at pixels. classify
    (images -> (N,) labels) adds class_gap: the total variation between the class shares of the
    samples and of the held-out images, 0 .. 1. Raises ValueError when a set differs in size from
    held_out, and through the metrics it calls.
    """
    sizes = {name: len(images) for name, images in samples.items()}
    if any(size != len(held_out) for size in sizes.values()):
        raise ValueError(f"each set needs {len(held_out)} images, as held_out has, not {sizes}")
    reference, memory = flat(held_out, features), flat(train, features)
    table = []
    for name, images in samples.items():
        x = flat(images, features)
        near = knn_precision_recall(x, reference)
        row: Row = {
            "samples": name,
            "precision": near.precision,
            "recall": near.recall,
            "copy_ratio": copy_ratio(x, reference, memory),
            "one_nn": one_nn_accuracy(x, reference),
            "frechet": frechet_distance(x, reference),
            "sliced": sliced_wasserstein(images, held_out, noise.at("sliced")),
        }
        if classify is not None:
            row["class_gap"] = _total_variation(classify(images), classify(held_out))
        table.append(row)
    return table


def format_table(rows: Sequence[Mapping[str, str | float]]) -> str:
    """Return rows as aligned text, one column for each key, in the order of the first row.

    >>> print(format_table([{"samples": "real", "recall": 0.975}, {"samples": "copies"}]))
    samples  recall
    real      0.975
    copies        -
    """
    names = list(rows[0])
    body = [[_cell(row.get(name, "-")) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in [names, *body]) for i in range(len(names))]
    lines = []
    for line in [names, *body]:
        first, *rest = (cell.rjust(w) for cell, w in zip(line, widths, strict=True))
        lines.append("  ".join([line[0].ljust(len(first)), *rest]).rstrip())
    return "\n".join(lines)


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"


def _total_variation(x: Array, y: Array) -> float:
    classes = np.union1d(x, y)
    gaps = [abs(float(np.mean(x == c)) - float(np.mean(y == c))) for c in classes]
    return 0.5 * sum(gaps)
