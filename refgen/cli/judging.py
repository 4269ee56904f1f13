"""What a finished run is told about itself: likelihood, the table of images, the modes of a toy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from refgen.cli import rollouts, terms
from refgen.cli.fidelity import fidelity
from refgen.cli.progress import Progress

if TYPE_CHECKING:
    from refgen.data import Dataset
    from refgen.metrics.table import Row
    from refgen.noise import Noise
    from refgen.systems import Classifier, System
    from refgen.systems.improved_ddpm import ImprovedDDPM
    from refgen.training import Judge
    from refgen.typing import Array

POINTS = 2000
PARTS = 40  # terms of a bound that are drawn for each example, of a thousand
ON_PIXELS = ("digits", "scenes")  # whose pixels say enough about distance
WIDE = 12  # classes in a row; more of them make a column


def judge(
    name: str,
    system: "System",
    params: Any,
    data: str,
    dataset: "Dataset",
    noise: "Noise",
    *,
    quiet: bool = False,
) -> list[str]:
    """Return lines on a system with its averaged parameters: figures of points and labelled images.

    Images need their judge, which is trained where the cache has none; stderr says so.
    """
    from refgen.metrics import can_be_judged
    from refgen.metrics.table import COUNT
    from refgen.systems import Classifier, draw, is_generative
    from refgen.systems.policy import is_acting
    from refgen.training import NumericFailure

    if isinstance(system, Classifier):
        return verdicts(system, params, dataset)
    if is_acting(system):
        return rollouts.judge(cast(Any, system), params, dataset, noise)
    lines = likelihood(name, system, params, dataset, noise.at("likelihood"))
    lines += fidelity(system, params, dataset, noise.at("fidelity"))
    if not is_generative(system):
        return lines
    if can_be_judged(dataset):
        samples = draw(system, params, COUNT, noise.at("samples"))
        try:
            referee = trained_judge(dataset, quiet=quiet)
        except (ValueError, NumericFailure) as error:  # the run itself is done and good
            return [*lines, f"not judged: {error}"]
        lines += images(name, samples, dataset, noise, referee)
    elif data.startswith("toy:"):
        samples = draw(system, params, POINTS, noise.at("samples"))
        lines += points(samples, data.removeprefix("toy:"), noise)
    elif dataset.kind == "images":
        lines.append(unjudged(dataset))
    else:
        train, held_out = dataset.split()
        count = min(POINTS, len(train), len(held_out))
        samples = draw(system, params, count, noise.at("samples"))
        lines += own_points(samples, train.data, held_out.data, noise)
    return lines


def unjudged(dataset: "Dataset") -> str:
    """Return the line on images that cannot be judged."""
    from refgen.metrics.table import COUNT, MOST_VALUES

    labels = "no labels" if dataset.labels is None else "labels"
    return (
        f"not judged: that needs labels and {COUNT} held-out images of at most {MOST_VALUES:,} "
        f"values; here are {labels} and {len(dataset.split()[1])} held-out images"
    )


def trained_judge(dataset: "Dataset", *, quiet: bool = False) -> "Judge":
    """Return the judge of a data set; a training of it is seen on stderr."""
    from refgen.training import judge_of

    bars: list[Progress] = []

    def watch(done: int, total: int) -> None:
        if not bars:
            bars.append(Progress(total, "step of the judge", quiet=quiet))
        bars[0].to(done)

    try:
        return judge_of(dataset, say=None if quiet else terms.say, on_step=watch)
    finally:
        for bar in bars:
            bar.__exit__()


def verdicts(system: "Classifier", params: Any, dataset: "Dataset") -> list[str]:
    """Return a classifier's held-out accuracy and its confusion table."""
    from refgen.data.fashion import CLASSES
    from refgen.metrics import accuracy, confusion, format_table

    _, held_out = dataset.split()
    assert held_out.labels is not None  # it was trained on labels
    found = confusion(held_out.labels, system.labels(params, held_out.data), system.classes)
    rows: list[dict[str, str | float]] = []
    for true, counts in enumerate(found):
        word = f"{true} {CLASSES[true]}" if dataset.name.startswith("fashion") else str(true)
        rows.append({"true": word} | {str(named): int(n) for named, n in enumerate(counts)})
    return [
        f"right on {100 * accuracy(found):.1f} % of {len(held_out):,} held-out {dataset.kind}",
        "",
        "how often each class was named",
        *format_table(rows).splitlines(),
    ]


def likelihood(
    name: str, system: "System", params: Any, dataset: "Dataset", noise: "Noise"
) -> list[str]:
    """Return the mean bound or log-likelihood of held-out data, for the systems that have one."""
    import math

    from refgen import tree
    from refgen.systems.ebm import EBM
    from refgen.systems.improved_ddpm import ImprovedDDPM

    _, held_out = dataset.split()
    one = "image" if dataset.kind == "images" else "point"
    if isinstance(system, ImprovedDDPM):
        return bound(system, params, dataset, noise)
    if isinstance(system, EBM) and dataset.kind == "points" and system.dim <= 2:
        here, data = tree.map(system.ops.put, params), system.ops.put(held_out.data)
        nats = float(system.ops.fetch(system.log_density(here, data)).mean(dtype="float64"))
        return [f"log-likelihood {nats:.3f} nats per point, mean of {len(held_out)} held out"]
    if name not in ("vae", "realnvp"):
        return []
    here, data = tree.map(system.ops.put, params), system.ops.put(held_out.data)
    found, _ = system.gradient(here, data, noise)  # type: ignore[attr-defined]
    nats = -float(system.ops.fetch(found["loss"]).mean(dtype="float64"))
    where = f"nats per {one}, mean of {len(held_out)} held out"
    if name == "vae":
        return [f"ELBO {nats:.2f} {where}"]
    lines = [f"log-likelihood {nats:.3f} {where}"]
    if dataset.levels > 1:
        size, width = math.prod(dataset.shape), 2 / (dataset.levels - 1)
        bits = -nats / size / math.log(2) - math.log2(width)
        lines.append(f"{bits:.3f} bits per dimension, uniform noise on {dataset.levels} levels")
    return lines


def bound(system: "ImprovedDDPM", params: Any, dataset: "Dataset", noise: "Noise") -> list[str]:
    """Return the bound of held-out data; of levels in bits, beside what needs no network."""
    import math

    from refgen import tree
    from refgen.metrics.likelihood import baseline_bits, bits_of
    from refgen.metrics.table import COUNT

    data = dataset.split()[1].data[:COUNT]
    nats = system.nats(tree.map(system.ops.put, params), data, noise.at("terms"), parts=PARTS)
    where = f"mean of {len(data)} held out, by the bound"
    if not system.bins:
        return [f"-log p at most {nats.mean():.3f} nats, {where}"]
    found = bits_of(nats, math.prod(dataset.shape))
    costs = baseline_bits(dataset, system.bins, noise.at("baselines")).items()
    known = ", ".join(f"{name} {cost.mean:.2f}" for name, cost in costs)
    return [
        f"{found.mean:.3f} bits per dimension, standard error {found.standard_error:.3f}, {where}",
        f"without a network: {known}",
    ]


def images(
    name: str, samples: "Array", dataset: "Dataset", noise: "Noise", judge: "Judge"
) -> list[str]:
    """Return the tables of samples and of the four rows that need no training.

    The judge names classes; its features serve the figures, but for data in ON_PIXELS.
    """
    from refgen.data.captions import LANGUAGES
    from refgen.metrics import against_gaussians, format_table, image_tables
    from refgen.metrics.table import GOOD

    on_pixels = dataset.name in ON_PIXELS
    features = None if on_pixels else judge.features
    figures, shares = image_tables(
        {name: samples}, dataset, noise, features=features, classify=judge.labels
    )
    if len(shares[0]) > 1 + WIDE:
        shares = turned(shares, LANGUAGES["scenes"].sentences if dataset.name == "scenes" else ())
    count = len(samples)
    where = "pixels" if on_pixels else "the judge's features; copy_ratio and sliced on pixels"
    return [
        "",
        f"{count} samples against {count} held-out images, on {where}",
        *format_table(figures).splitlines(),
        GOOD,
        against_gaussians(figures),
        "",
        f"share of each class by the judge, who is right on {100 * judge.accuracy:.1f} % of "
        f"{judge.held_out:,} held-out images",
        *format_table(shares).splitlines(),
    ]


def turned(shares: "list[Row]", words: Sequence[str] = ()) -> "list[Row]":
    """Return a table of rows of samples and columns of classes with a row for each class.

    words say what the classes are.

    >>> turned([{"samples": "vae", "0": 0.25, "1": 0.75}, {"samples": "real", "0": 0.5, "1": 0.5}])
    [{'class': '0', 'vae': 0.25, 'real': 0.5}, {'class': '1', 'vae': 0.75, 'real': 0.5}]
    """
    rows: list[Row] = []
    for name in shares[0]:
        if name != "samples":
            said = f"{name} {words[int(name)]}" if words else name
            rows.append({"class": said, **{str(row["samples"]): row[name] for row in shares}})
    return rows


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


def own_points(samples: "Array", train: "Array", held_out: "Array", noise: "Noise") -> list[str]:
    """Return the distance from held-out points beside that of as many training points."""
    import numpy as np

    from refgen.metrics import sliced_wasserstein

    count = len(samples)
    real, other = (
        data[np.argsort(noise.at(which).uniform(len(data)), kind="stable")[:count]]
        for data, which in ((held_out, "real"), (train, "other"))
    )
    model, floor = (sliced_wasserstein(found, real, noise) for found in (samples, other))
    return [
        f"squared sliced Wasserstein distance {model:.2e} from "
        f"{terms.several(count, 'held-out point')}; as many training points {floor:.2e}"
    ]
