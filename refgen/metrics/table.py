"""The table of an image system, with the four rows that need no training.

Shapes     images : (N, H, W, C) or (N, D)    labels : (N,) integers

A figure says little by itself: sliced Wasserstein alone prefers a Gaussian to a good diffusion
model, precision alone prefers copies. So the table always carries the same company.

    gaussian         one Gaussian with the mean and full covariance of the training images
    class gaussians  one for each class, in the proportion of the classes
    copies           training images, drawn without replacement where there are enough
    real             further real images: what a perfect generator would get

Samples of a Gaussian are not clipped to the range of the pixels. `image_tables` is the protocol
that every system is shown under.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from refgen.data import Dataset
from refgen.exact.gaussian import Gaussian
from refgen.metrics.classes import class_gap, class_shares
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
COUNT = 500  # images on either side of a table
MOST_VALUES = 64 * 64 * 3  # of an image: a covariance has the square of that
BEST = {"precision": 1.0, "recall": 1.0, "one_nn": 0.5, "frechet": 0.0, "sliced": 0.0}
GOOD = "good is: precision, recall and copy_ratio near 1, one_nn near 0.5, the others near 0"
GAUSSIANS = ("gaussian", "class gaussians")


def can_be_judged(dataset: Dataset) -> bool:
    """Tell whether `image_tables` has what it needs: labelled images, small and numerous."""
    if dataset.kind != "images" or dataset.labels is None or len(dataset) < 3 * COUNT:
        return False
    if int(np.prod(dataset.shape)) > MOST_VALUES or dataset.labels.max() >= COUNT:
        return False
    train, held_out = dataset.split()
    return len(held_out) >= COUNT and len(train) > COUNT


def image_tables(
    samples: Mapping[str, Array],
    dataset: Dataset,
    noise: Noise,
    *,
    features: Features | None = None,
    classify: Callable[[Array], Array] | None = None,
) -> tuple[list[Row], list[Row]]:
    """Return the figures of each set of COUNT samples and of the four rows; then class shares.

    All against the first COUNT held-out images. The row "real" is of COUNT training images, with
    the rest as its training set: nothing else is left that is real. features and classify are the
    judge's; without classify there is no second table. Raises ValueError for data of which
    `can_be_judged` is false.
    """
    if not can_be_judged(dataset):
        raise ValueError(
            f"{dataset.name}: judging needs {COUNT} held-out images of at most {MOST_VALUES:,} "
            f"values, and labels below {COUNT}"
        )
    train, held_out = dataset.split()
    assert train.labels is not None
    against = held_out.data[:COUNT]
    order = np.argsort(noise.at("order").uniform(len(train)), kind="stable")
    real, rest = train.data[order[:COUNT]], train.data[order[COUNT:]]
    rows = dict(samples) | baselines(train.data, train.labels, real, noise.at("baselines"), COUNT)
    real = rows.pop("real")
    figures = judge_table(rows, against, train.data, noise, features=features, classify=classify)
    figures += judge_table(
        {"real": real}, against, rest, noise, features=features, classify=classify
    )
    if classify is None:
        return figures, []
    classes = int(train.labels.max()) + 1
    shares: list[Row] = []
    for name, images in {**rows, "real": real, "held out": against}.items():
        found = class_shares(classify(images), classes)
        shares.append({"samples": name} | {str(c): float(s) for c, s in enumerate(found)})
    return figures, shares


def against_gaussians(rows: Sequence[Row]) -> str:
    """Return in one line by which figures the first row is no better than the better Gaussian.

    Better is closer to what a perfect generator would get. The copy ratio and the class gap are
    left out: a Gaussian does not copy, and one for each class has the classes by construction.

    >>> best = {"precision": 0.9, "recall": 0.9, "one_nn": 0.5, "frechet": 0.1, "sliced": 0.1}
    >>> worse = best | {"precision": 0.2, "one_nn": 0.8, "frechet": 0.2, "sliced": 0.2}
    >>> against_gaussians([{"samples": name, **row} for name, row in
    ...     {"vae": best, "gaussian": worse, "class gaussians": worse}.items()])
    'vae is better than both Gaussians, but for recall'
    """
    rivals = [row for row in rows if row["samples"] in GAUSSIANS]

    def gap(row: Row, figure: str) -> float:
        return abs(float(row[figure]) - BEST[figure])

    name = rows[0]["samples"]
    lost = [f for f in BEST if gap(rows[0], f) >= min(gap(rival, f) for rival in rivals)]
    if len(lost) == len(BEST):
        return f"{name} is in no figure better than both Gaussians"
    if len(lost) > len(BEST) / 2:
        won = ", ".join(f for f in BEST if f not in lost)
        return f"{name} is better than both Gaussians only in {won}"
    return f"{name} is better than both Gaussians" + (f", but for {', '.join(lost)}" * bool(lost))


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

    features (images -> (N, F)) serve every column but copy_ratio and sliced, which look at pixels:
    a copy agrees in all of them. classify (images -> (N,) labels) adds class_gap: the total
    variation between the class shares of the samples and of the held-out images, 0 .. 1. Raises
    ValueError when a set differs in size from held_out, and through the metrics it calls.
    """
    sizes = {name: len(images) for name, images in samples.items()}
    if any(size != len(held_out) for size in sizes.values()):
        raise ValueError(f"each set needs {len(held_out)} images, as held_out has, not {sizes}")
    reference, memory = flat(held_out, features), flat(train)
    due = None if classify is None else classify(held_out)
    table = []
    for name, images in samples.items():
        x = flat(images, features)
        near = knn_precision_recall(x, reference)
        row: Row = {
            "samples": name,
            "precision": near.precision,
            "recall": near.recall,
            "copy_ratio": copy_ratio(images, held_out, memory),
            "one_nn": one_nn_accuracy(x, reference),
            "frechet": frechet_distance(x, reference),
            "sliced": sliced_wasserstein(images, held_out, noise.at("sliced")),
        }
        if classify is not None and due is not None:
            found = classify(images)
            classes = int(max(found.max(), due.max())) + 1
            row["class_gap"] = class_gap(class_shares(found, classes), class_shares(due, classes))
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
